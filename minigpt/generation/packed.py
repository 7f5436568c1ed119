"""A model packed for writing: fewer and larger products, with weights that are read as fast as the machine can.

A new token costs little arithmetic: its time is that of reading every weight once and of calling every operation.
Hence weights of one or two bytes, and as few operations as will do. Axis letters as in minigpt/model/attention.py.
"""

import copy
import math
from collections.abc import Callable, Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minigpt.model.block import Block
from minigpt.model.cache import LayerCache
from minigpt.model.gpt import GPT
from minigpt.model.norm import EPSILON
from minigpt.model.position import Rotation

FEW = 4
"""Texts at once up to which int8 weights are faster than bfloat16 ones, on a CPU."""
INT8_INPUTS = 16
"""torch's int8 product reads beyond the end of weights whose number of inputs is no multiple of this."""


def weights_for_writing(dtype: torch.dtype, device: torch.device, n_samples: int) -> torch.dtype:
    """What to pack the weights of a model in that was trained in `dtype`, to write `n_samples` texts at once."""
    few = device.type == "cpu" and n_samples <= FEW
    return torch.int8 if dtype == torch.bfloat16 and few else dtype


def pack(model: GPT, dtype: torch.dtype) -> GPT:
    """The same model for inference: its matrices are packed copies in `dtype`, the rest is shared.

    Vectors between the matrices stay float32: on CPUs, attention over a cache is several times slower in bfloat16.
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

    With a `norm` the input is normalised first; the norm's gains and biases become part of the product. int8 weights
    have one scale for each output, and bfloat16 inputs and outputs.
    """

    def __init__(self, layers: Sequence[nn.Linear], dtype: torch.dtype, norm: nn.Module | None = None) -> None:
        super().__init__()
        weight = torch.cat([layer.weight.detach() for layer in layers])
        biases = [layer.bias.detach() for layer in layers if layer.bias is not None]
        bias = torch.cat(biases) if biases else None
        self.normalise: Callable[[Tensor], Tensor] = _leave
        if isinstance(norm, nn.LayerNorm):
            self.normalise = _centre_and_scale
            if norm.bias is not None:
                shift = weight @ norm.bias.detach()
                bias = shift if bias is None else bias + shift
            weight = weight * norm.weight.detach()
        elif isinstance(norm, nn.RMSNorm):
            self.normalise = _scale
            weight = weight * norm.weight.detach() * math.sqrt(weight.shape[1])
        if dtype == torch.int8 and weight.shape[1] % INT8_INPUTS:
            dtype = torch.bfloat16
        self.dtype = torch.bfloat16 if dtype == torch.int8 else dtype
        self.bias = None if bias is None else bias.to(self.dtype)
        self.scale: Tensor | None = None
        if dtype == torch.int8:
            self.scale = (weight.abs().amax(1).clamp(min=1e-9) / 127).bfloat16()
            weight = (weight / self.scale[:, None].float()).round().clamp(-127, 127)
        weight = weight.to(dtype)
        self.n_bytes = weight.nbytes
        # oneDNN's blocked order of weights makes a product with few vectors twice as fast as torch's own kernel.
        self.blocked = _onednn_multiplies(weight)
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, 16) if self.blocked else weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.normalise(x).to(self.dtype)
        if self.blocked:
            return torch.ops.mkldnn._linear_pointwise.default(x, self.weight, self.bias, "none", [], "")
        if self.scale is None:
            return F.linear(x, self.weight, self.bias)
        y = torch._weight_int8pack_mm(x.flatten(0, 1), self.weight, self.scale).unflatten(0, x.shape[:2])
        return y if self.bias is None else y + self.bias


class PackedBlock(nn.Module):
    """A `Block` for inference: queries, keys and values are one product, and so are gate and up."""

    def __init__(self, block: Block, dtype: torch.dtype) -> None:
        super().__init__()
        attention, feed_forward = block.attention, block.feed_forward
        self.n_heads, self.n_kv_heads, self.d_head = attention.n_heads, attention.n_kv_heads, attention.d_head
        self.qkv_proj = PackedLinear(
            [attention.q_proj, attention.k_proj, attention.v_proj], dtype, block.attention_norm
        )
        self.o_proj = PackedLinear([attention.o_proj], dtype)
        self.gated = feed_forward.gate_proj is not None
        self.up_proj = PackedLinear(
            [*filter(None, [feed_forward.gate_proj]), feed_forward.up_proj], dtype, block.feed_forward_norm
        )
        self.down_proj = PackedLinear([feed_forward.down_proj], dtype)
        self.gains: Tensor | None = None  # of queries and keys, (H + G) 1 K
        q_norm, k_norm = attention.q_norm, attention.k_norm
        if isinstance(q_norm, nn.RMSNorm) and isinstance(k_norm, nn.RMSNorm):
            gains = q_norm.weight.repeat(self.n_heads, 1), k_norm.weight.repeat(self.n_kv_heads, 1)
            self.gains = torch.cat(gains)[:, None].detach() * math.sqrt(self.d_head)

    def forward(self, x: Tensor, rotation: Rotation | None, cache: LayerCache | None = None) -> Tensor:
        n_batch, n_new, _ = x.shape
        heads = self.qkv_proj(x).float().view(n_batch, n_new, -1, self.d_head).transpose(1, 2)  # B (H + G + G) T K
        seekers = heads.narrow(1, 0, self.n_heads + self.n_kv_heads)  # queries and keys
        if self.gains is not None:
            seekers.div_(_length(seekers)).mul_(self.gains)
        if rotation is not None:
            rotation.turn(seekers)
        query, key, value = heads.split((self.n_heads, self.n_kv_heads, self.n_kv_heads), 1)
        if cache is not None:
            key, value = cache.append(key, value)
        mixed = F.scaled_dot_product_attention(
            query, key, value, is_causal=n_new > 1, enable_gqa=self.n_kv_heads < self.n_heads
        )
        x = x + self.o_proj(mixed.transpose(1, 2).reshape(n_batch, n_new, -1))
        hidden = self.up_proj(x)
        if self.gated:
            gate, up = hidden.chunk(2, -1)
            hidden = F.silu(gate).mul_(up)
        else:
            hidden = F.gelu(hidden, approximate="tanh")
        return x + self.down_proj(hidden)


def _onednn_multiplies(weight: Tensor) -> bool:
    if weight.device.type != "cpu" or not torch.backends.mkldnn.is_available():
        return False
    return weight.dtype == torch.float32 or (
        weight.dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    )


def _leave(x: Tensor) -> Tensor:
    return x


def _centre_and_scale(x: Tensor) -> Tensor:
    """LayerNorm without gains and biases."""
    return F.layer_norm(x, x.shape[-1:], eps=EPSILON)


def _scale(x: Tensor) -> Tensor:
    """RMSNorm without gains and without its factor sqrt(size)."""
    return x / _length(x)


def _length(x: Tensor) -> Tensor:
    """sqrt(x·x + size · epsilon): torch's own RMSNorm takes twice as long for a single vector."""
    return torch.linalg.vector_norm(x, dim=-1, keepdim=True).hypot(_root(x.shape[-1]))


@lru_cache
def _root(size: int) -> Tensor:
    return torch.tensor(math.sqrt(size * EPSILON))
