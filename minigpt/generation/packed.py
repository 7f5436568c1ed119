"""A model packed for writing: fewer and larger products, with weights that are read as fast as the machine can.

A new token costs little arithmetic: its time is that of reading every weight once and of calling every operation.
Hence weights of one or two bytes, and as few operations as will do. Axis letters as in minigpt/model/attention.py.
"""

import copy
import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minigpt.generation.kernels import HEAD_SIZES, Before, Int8Matrix, attend, keep, load
from minigpt.model.block import Block
from minigpt.model.cache import LayerCache
from minigpt.model.gpt import GPT
from minigpt.model.norm import EPSILON
from minigpt.model.position import Rotation


def weights_for_writing(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """What to pack the weights of a model in that was trained in `dtype`."""
    return torch.int8 if dtype == torch.bfloat16 and device.type == "cpu" and load() is not None else dtype


def pack(model: GPT, dtype: torch.dtype) -> GPT:
    """The same model for inference: its matrices are packed copies in `dtype`, the rest is shared.

    Vectors between the matrices stay float32: on CPUs, torch's attention over a cache is slower by far in bfloat16.
    """
    packed = copy.copy(model)
    packed._modules = dict(model._modules)
    packed.dropout = nn.Identity()  # type: ignore[assignment]
    packed.blocks = nn.ModuleList(PackedBlock(block, dtype) for block in model.blocks if isinstance(block, Block))
    packed.final_norm = nn.Identity()
    packed.lm_head = PackedLinear([model.lm_head], dtype, model.final_norm)  # type: ignore[assignment]
    return packed


class PackedLinear(nn.Module):
    """Linear layers that read the same input as one product: x (B T in) becomes their outputs (B T out) side by side.

    `before` is what happens to the input first; a norm's gains and biases become part of the product. int8 is for the
    weights, with one scale for each output, and for the inputs, with one for each token.
    """

    def __init__(self, layers: Sequence[nn.Linear], dtype: torch.dtype, before: nn.Module | Before) -> None:
        super().__init__()
        weight = torch.cat([layer.weight.detach() for layer in layers])
        biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
        bias = torch.cat(biases) if biases else None
        if isinstance(before, nn.LayerNorm):
            if before.bias is not None:
                shift = weight @ before.bias.detach()
                bias = shift if bias is None else bias + shift
            weight, before = weight * before.weight.detach(), Before.LAYER_NORM
        elif isinstance(before, nn.RMSNorm):
            weight, before = weight * before.weight.detach() * math.sqrt(weight.shape[1]), Before.RMS_NORM
        assert isinstance(before, Before)
        self.before, self.dtype = before, dtype
        self.int8 = Int8Matrix(weight, bias) if dtype == torch.int8 else None
        if self.int8 is not None:
            self.n_bytes = self.int8.weights.nbytes
            return
        self.bias = None if bias is None else bias.to(dtype)
        weight = weight.to(dtype)
        self.n_bytes = weight.nbytes
        # oneDNN's blocked order of weights makes a product with few vectors twice as fast as torch's own kernel.
        self.blocked = _onednn_multiplies(weight)
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, 16) if self.blocked else weight

    def forward(self, x: Tensor, onto: Tensor | None = None) -> Tensor:
        """The product, added to `onto` (which may change) if that is given."""
        if self.int8 is not None:
            return self.int8(x, self.before, onto)
        x = PREPARE[self.before](x).to(self.dtype)
        if self.blocked:
            y = torch.ops.mkldnn._linear_pointwise.default(x, self.weight, self.bias, "none", [], "")
        else:
            y = F.linear(x, self.weight, self.bias)
        return y if onto is None else onto + y


class PackedBlock(nn.Module):
    """A `Block` for inference: queries, keys and values are one product, and so are gate and up."""

    def __init__(self, block: Block, dtype: torch.dtype) -> None:
        super().__init__()
        attention, feed_forward = block.attention, block.feed_forward
        self.n_heads, self.n_kv_heads, self.d_head = attention.n_heads, attention.n_kv_heads, attention.d_head
        self.qkv_proj = PackedLinear(
            [attention.q_proj, attention.k_proj, attention.v_proj], dtype, block.attention_norm
        )
        self.o_proj = PackedLinear([attention.o_proj], dtype, Before.NOTHING)
        gate = feed_forward.gate_proj
        self.up_proj = PackedLinear([*filter(None, [gate]), feed_forward.up_proj], dtype, block.feed_forward_norm)
        self.down_proj = PackedLinear([feed_forward.down_proj], dtype, Before.GELU if gate is None else Before.SWIGLU)
        self.compiled = dtype == torch.int8 and self.d_head in HEAD_SIZES
        self.gains: Tensor | None = None  # of queries and keys, (H + G) 1 K
        q_norm, k_norm = attention.q_norm, attention.k_norm
        if isinstance(q_norm, nn.RMSNorm) and isinstance(k_norm, nn.RMSNorm):
            gains = q_norm.weight.repeat(self.n_heads, 1), k_norm.weight.repeat(self.n_kv_heads, 1)
            self.gains = torch.cat(gains)[:, None].detach() * math.sqrt(self.d_head)

    def forward(self, x: Tensor, rotation: Rotation | None, cache: LayerCache | None = None) -> Tensor:
        heads = self.qkv_proj(x)
        if self.compiled and cache is not None and cache.length > 0 and x.shape[1] == 1:
            mixed = attend(heads, self.gains, rotation, cache, self.n_heads)
        else:
            mixed = self.attention(heads, rotation, cache)
        x = self.o_proj(mixed, onto=x)
        return self.down_proj(self.up_proj(x), onto=x)

    def attention(self, heads: Tensor, rotation: Rotation | None, cache: LayerCache | None) -> Tensor:
        """What each token gathers (B T (H K)) out of queries, keys and values (B T ((H + G + G) K)), by torch."""
        n_batch, n_new, _ = heads.shape
        heads = heads.float().view(n_batch, n_new, -1, self.d_head).transpose(1, 2)  # B (H + G + G) T K
        seekers = heads.narrow(1, 0, self.n_heads + self.n_kv_heads)  # queries and keys
        if self.gains is not None:
            seekers.div_(_length(seekers)).mul_(self.gains)
        if rotation is not None:
            rotation.turn(seekers)
        query, key, value = heads.split((self.n_heads, self.n_kv_heads, self.n_kv_heads), 1)
        if cache is not None and self.compiled:
            keep(key, value, cache)  # of a whole prompt: there is nothing before it
        elif cache is not None:
            key, value = cache.append(key, value)
        mixed = F.scaled_dot_product_attention(
            query, key, value, is_causal=n_new > 1, enable_gqa=self.n_kv_heads < self.n_heads
        )
        return mixed.transpose(1, 2).reshape(n_batch, n_new, -1)


def _onednn_multiplies(weight: Tensor) -> bool:
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    return weight.dtype == torch.float32 or (
        weight.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


def _normalise(x: Tensor) -> Tensor:
    """RMSNorm without gains and without its factor sqrt(size)."""
    return x / _length(x)


def _centre_and_normalise(x: Tensor) -> Tensor:
    """LayerNorm without gains and biases."""
    return F.layer_norm(x, x.shape[-1:], eps=EPSILON)


def _gate(x: Tensor) -> Tensor:
    gate, up = x.chunk(2, -1)
    return F.silu(gate).mul_(up)


def _length(x: Tensor) -> Tensor:
    """sqrt(x·x + size · epsilon): torch's own RMSNorm takes twice as long for a single vector."""
    return torch.linalg.vector_norm(x, dim=-1, keepdim=True).hypot(_root(x.shape[-1]))


@lru_cache
def _root(size: int) -> Tensor:
    return torch.tensor(math.sqrt(size * EPSILON))


PREPARE: dict[Before, Callable[[Tensor], Tensor]] = {
    Before.NOTHING: lambda x: x,
    Before.RMS_NORM: _normalise,
    Before.LAYER_NORM: _centre_and_normalise,
    Before.SWIGLU: _gate,
    Before.GELU: partial(F.gelu, approximate="tanh"),
}
"""What `kernels.cpp` does before its products, in torch's operations."""
