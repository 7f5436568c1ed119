"""A model packed for inference: fewer and larger matmuls, with weights that are read as fast as the machine can.

Decoding costs little arithmetic: its time is that of reading every weight once and of calling every operation.
Hence weights in int8 or bfloat16, and as few operations as will do: on a CPU, one call of C++ for a whole step where
that can be compiled, and else NumPy's; elsewhere torch's. Axis letters as in minigpt/model/attention.py.
"""

import copy
import math
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minigpt.config.hyperparameters import ModelConfig
from minigpt.inference.arrays import ArrayGPT
from minigpt.inference.compiled import load
from minigpt.inference.folding import Before, Folded, fold, fold_block
from minigpt.inference.native import Int8GPT, fits
from minigpt.inference.recorded import RecordedGPT
from minigpt.model.block import Block
from minigpt.model.cache import KVCache, LayerCache
from minigpt.model.gpt import GPT
from minigpt.model.position import Rotation


class InferenceModel(Protocol):
    """What generation needs of a model: a `GPT` has it, and one that is packed."""

    config: ModelConfig

    def next_logits(self, token_ids: Tensor, cache: KVCache) -> Tensor:
        """Logits (B V, float32, on the CPU) of what comes after `token_ids` (B T), which join the cache."""


def inference_dtype(
    config: ModelConfig, precision: str | None, dtype: torch.dtype, device: torch.device
) -> torch.dtype:
    """What to pack a model's weights in for inference, as `sampling.precision` says; else `dtype`."""
    if precision in ("float32", "bfloat16"):
        return getattr(torch, precision)
    return torch.int8 if device.type == "cpu" and fits(config) and load() is not None else dtype


def pack(model: GPT, dtype: torch.dtype) -> InferenceModel:
    """The same model for inference: its matrices are packed copies in `dtype`, the rest is shared."""
    device = model.lm_head.weight.device.type
    if dtype == torch.int8:
        return Int8GPT(model)
    if device == "cpu":
        return ArrayGPT(model, dtype)
    packed = with_packed_blocks(model, dtype)
    return RecordedGPT(packed) if device == "cuda" else packed


def with_packed_blocks(model: GPT, dtype: torch.dtype) -> GPT:
    """For inference by torch, on a GPU. Vectors between the matrices stay float32."""
    packed = copy.copy(model)
    packed._modules = dict(model._modules)
    packed.dropout = nn.Identity()  # type: ignore[assignment]
    packed.blocks = nn.ModuleList(PackedBlock(block, dtype) for block in model.layers)
    packed.final_norm = nn.Identity()
    packed.lm_head = PackedLinear(fold([model.lm_head], model.final_norm), dtype)  # type: ignore[assignment]
    return packed


class PackedLinear(nn.Module):
    """A linear layer x (B T in) -> B T out in `dtype`, and what comes before it."""

    def __init__(self, folded: Folded, dtype: torch.dtype) -> None:
        super().__init__()
        self.prepare = preparation(folded.before, folded.epsilon)
        self.bias = folded.bias.to(dtype) if folded.bias.any() else None
        self.weight = folded.weight.to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(self.prepare(x).to(self.weight.dtype), self.weight, self.bias)


class PackedBlock(nn.Module):
    """A `Block` for inference: queries, keys and values are one matmul, and so are gate and up."""

    def __init__(self, block: Block, dtype: torch.dtype) -> None:
        super().__init__()
        attention, folded = block.attention, fold_block(block)
        self.n_heads, self.n_kv_heads, self.d_head = attention.n_heads, attention.n_kv_heads, attention.d_head
        self.qkv_proj, self.o_proj = PackedLinear(folded.qkv, dtype), PackedLinear(folded.o, dtype)
        self.up_proj, self.down_proj = PackedLinear(folded.up, dtype), PackedLinear(folded.down, dtype)
        self.gains = None if folded.gains is None else folded.gains.view(-1, 1, self.d_head)  # (H + G) 1 K
        self.epsilon = getattr(attention.q_norm, "eps", 0.0)

    def forward(self, x: Tensor, rotation: Rotation | None, cache: LayerCache | None = None) -> Tensor:
        x = x + self.o_proj(self.attention(self.qkv_proj(x), rotation, cache))
        return x + self.down_proj(self.up_proj(x))

    def attention(self, heads: Tensor, rotation: Rotation | None, cache: LayerCache | None) -> Tensor:
        """What each token gathers (B T (H K)) out of queries, keys and values (B T ((H + G + G) K))."""
        n_batch, n_new, _ = heads.shape
        heads = heads.float().view(n_batch, n_new, -1, self.d_head).transpose(1, 2)  # B (H + G + G) T K
        seekers = heads.narrow(1, 0, self.n_heads + self.n_kv_heads)  # queries and keys
        if self.gains is not None:
            seekers.div_(_length(seekers, self.epsilon)).mul_(self.gains)
        if rotation is not None:
            rotation.turn(seekers)
        query, key, value = heads.split((self.n_heads, self.n_kv_heads, self.n_kv_heads), 1)
        mask = None
        if cache is not None:
            key, value = cache.append(key, value)
            mask = cache.mask
        mixed = F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=n_new > 1, enable_gqa=self.n_kv_heads < self.n_heads
        )
        return mixed.transpose(1, 2).reshape(n_batch, n_new, -1)


def preparation(before: Before, epsilon: float) -> Callable[[Tensor], Tensor]:
    """What `cpp/matmul.h` does before a matmul, in torch's operations; norms without what is folded into the matmul."""
    match before:
        case Before.RMS_NORM:
            return lambda x: x / _length(x, epsilon)
        case Before.LAYER_NORM:
            return lambda x: F.layer_norm(x, x.shape[-1:], eps=epsilon)
        case Before.SWIGLU:
            return _gate
        case Before.GELU:
            return partial(F.gelu, approximate="tanh")
    return lambda x: x


def _gate(x: Tensor) -> Tensor:
    gate, up = x.chunk(2, -1)
    return F.silu(gate).mul_(up)


def _length(x: Tensor, epsilon: float) -> Tensor:
    """sqrt(x·x + size · epsilon): torch's own RMSNorm takes twice as long for a single vector."""
    return torch.linalg.vector_norm(x, dim=-1, keepdim=True).hypot(_root(x.shape[-1] * epsilon))


@lru_cache
def _root(square: float) -> Tensor:
    return torch.tensor(math.sqrt(square))
