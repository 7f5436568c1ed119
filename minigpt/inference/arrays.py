"""Inference on a CPU without a C++ compiler, in NumPy but for large matrices.

The time of a small model's step is that of calling some hundred operations: 0.2 to 2 us each in NumPy, 1 to 6 in torch
(docs/experiments.md). Axis letters as in minigpt/model/attention.py; vectors are (B T) D.
"""

import math
from collections.abc import Callable
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from minigpt.hardware.instructions import has_bfloat16_matmul
from minigpt.inference.folding import Before, Folded, fold, fold_block
from minigpt.model.block import Block
from minigpt.model.cache import KVCache, LayerCache
from minigpt.model.gpt import GPT

WORTH_TORCH = 2**17
"""Weights of a matrix from which on torch's matmul, by threads, is faster than NumPy's, which is called sooner."""
Numbers = NDArray[np.float32]
Turns = NDArray[np.complex64]
"""By which pairs of numbers of a query or key turn at each place (T 1 K/2)."""


class ArrayGPT:
    """A model for inference: its matrices are folded copies, large ones in `dtype`, all else is float32."""

    def __init__(self, model: GPT, dtype: torch.dtype) -> None:
        self.config = model.config
        positions, rotary = model.position_embedding, model.rotary
        self.embedding = model.token_embedding.weight.detach().numpy()
        self.embedding_scale = np.float32(model.embedding_scale)
        self.positions = positions.weight.detach().numpy() if positions is not None else None
        self.turns = turns(rotary.cosine, rotary.sine) if rotary is not None else None
        self.blocks = [ArrayBlock(block, dtype) for block in model.layers]
        self.lm_head = ArrayLinear(fold([model.lm_head], model.final_norm), dtype)
        layers = [self.lm_head, *(layer for block in self.blocks for layer in block.layers)]
        self.n_bytes = sum(layer.n_bytes for layer in layers)
        """Of weights, which a step reads."""

    def next_logits(self, token_ids: Tensor, cache: KVCache) -> Tensor:
        """Logits (B V) of what comes after `token_ids` (B T), which join the cache."""
        n_texts, n_new = token_ids.shape
        positions = cache.positions(n_new)
        x = self.embedding[token_ids.numpy()] * self.embedding_scale  # B T D
        if self.positions is not None:
            x += self.positions[positions]
        turns = self.turns[positions] if self.turns is not None else None
        x = x.reshape(n_texts * n_new, -1)
        with np.errstate(all="ignore"):  # exp(-gate) may be infinite, where it closes the gate
            for block, kept in zip(self.blocks, cache.layers, strict=True):
                x = block(x, n_new, turns, kept)
            return torch.from_numpy(self.lm_head(x[n_new - 1 :: n_new]))


class ArrayLinear:
    """A linear layer (B T) in -> (B T) out, and what comes before it."""

    def __init__(self, folded: Folded, dtype: torch.dtype) -> None:
        self.prepare = preparation(folded.before, folded.epsilon)
        if folded.weight.numel() < WORTH_TORCH:
            dtype = torch.float32
            self.matmul = matmul_by_numpy(folded.weight, folded.bias)
        else:
            self.matmul = matmul_by_torch(folded.weight.to(dtype), folded.bias.to(dtype))
        self.n_bytes = folded.weight.numel() * dtype.itemsize

    def __call__(self, x: Numbers) -> Numbers:
        return self.matmul(self.prepare(x))


class ArrayBlock:
    """A `Block` for inference: queries, keys and values are one matmul, and so are gate and up."""

    def __init__(self, block: Block, dtype: torch.dtype) -> None:
        attention, (qkv, o, up, down, gains) = block.attention, fold_block(block)
        self.n_heads, self.n_kv_heads, self.d_head = attention.n_heads, attention.n_kv_heads, attention.d_head
        self.n_seekers = self.n_heads + self.n_kv_heads
        qkv = qkv._replace(weight=self._in_pairs(qkv.weight), bias=self._in_pairs(qkv.bias))
        self.layers = [ArrayLinear(folded, dtype) for folded in (qkv, o, up, down)]
        self.qkv, self.o, self.up, self.down = self.layers
        self.gains = self._in_pairs(gains).view(-1, self.d_head).numpy() if gains is not None else None
        self.epsilon = getattr(attention.q_norm, "eps", 0.0)
        self.scale = np.float32(1 / math.sqrt(self.d_head))

    def __call__(self, x: Numbers, n_new: int, turns: Turns | None, cache: LayerCache) -> Numbers:
        heads = self.qkv(x).reshape(-1, n_new, self.n_seekers + self.n_kv_heads, self.d_head)
        mixed = self._attention(heads, turns, cache)  # B H T K
        x = x + self.o(mixed.swapaxes(1, 2).reshape(len(x), -1))
        return x + self.down(self.up(x))

    def _attention(self, heads: Numbers, turns: Turns | None, cache: LayerCache) -> Numbers:
        """What each token gathers (B H T K) out of queries, keys and values (B T (H + G + G) K)."""
        seekers = heads[:, :, : self.n_seekers]  # queries and keys
        if self.gains is not None:
            seekers /= _length(seekers, self.epsilon)
            seekers *= self.gains
        if turns is not None:
            pairs = seekers.view(np.complex64)
            pairs *= turns
        heads = heads.swapaxes(1, 2)  # B (H + G + G) T K
        query = heads[:, : self.n_heads]
        key, value = append(cache, heads[:, self.n_heads : self.n_seekers], heads[:, self.n_seekers :])
        if query.shape[2] > 1:  # prefill
            q, k, v = map(torch.from_numpy, (query, key, value))
            return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True).numpy()
        n_texts, n_groups = key.shape[:2]
        shares: Numbers = query.reshape(n_texts, n_groups, -1, self.d_head) @ key.swapaxes(2, 3)  # B G H/G S
        shares *= self.scale
        shares -= np.maximum.reduce(shares, -1, keepdims=True)
        np.exp(shares, out=shares)
        shares /= np.add.reduce(shares, -1, keepdims=True)
        return (shares @ value).reshape(query.shape)

    def _in_pairs(self, heads: Tensor) -> Tensor:
        """Rows ((H + G + G) K ...), those of queries and keys so that the two which turn together are neighbours."""
        seekers, values = heads.tensor_split([self.n_seekers * self.d_head])
        parts = 2 - self.d_head % 2  # an odd head does not turn
        pairs = seekers.unflatten(0, (self.n_seekers, parts, -1)).transpose(1, 2).flatten(0, 2)
        return torch.cat([pairs, values])


def turns(cosine: Tensor, sine: Tensor) -> Turns:
    """Those of `RotaryPositions` (T K), whose second halves are the first with the other sign of the sine."""
    return torch.complex(cosine.chunk(2, 1)[1], sine.chunk(2, 1)[1]).unsqueeze(1).numpy()


def append(cache: LayerCache, key: Numbers, value: Numbers) -> tuple[Numbers, Numbers]:
    """`LayerCache.append` in a third of its time: store keys and values (B G t K), give all so far (B G S K)."""
    if cache.keys is None or cache.values is None:
        shape = (*key.shape[:2], cache.capacity, key.shape[3])
        cache.keys, cache.values = torch.empty(shape), torch.empty(shape)
    keys, values = cache.keys.numpy(), cache.values.numpy()
    start, cache.length = cache.length, cache.length + key.shape[2]
    keys[:, :, start : cache.length], values[:, :, start : cache.length] = key, value
    return keys[:, :, : cache.length], values[:, :, : cache.length]


def matmul_by_numpy(weight: Tensor, bias: Tensor) -> Callable[[Numbers], Numbers]:
    """Vectors (N in) -> N out, by a weight (out in) and a bias (out) in float32."""
    columns, added = weight.numpy().T, bias.numpy()
    return (lambda x: x.dot(columns) + added) if added.any() else lambda x: x.dot(columns)


def matmul_by_torch(weight: Tensor, bias: Tensor) -> Callable[[Numbers], Numbers]:
    """The same in the weight's precision."""
    dtype, added = weight.dtype, bias if bias.any() else None
    by_onednn = {torch.float32, torch.bfloat16} if has_bfloat16_matmul() else {torch.float32}
    if torch.backends.mkldnn.is_available() and dtype in by_onednn:  # in its order few vectors take half the time
        blocks = torch.ops.mkldnn._reorder_linear_weight(weight, 16)
        pointwise = torch.ops.mkldnn._linear_pointwise.default
        return lambda x: pointwise(torch.from_numpy(x).to(dtype), blocks, added, "none", [], "").float().numpy()
    return lambda x: F.linear(torch.from_numpy(x).to(dtype), weight, added).float().numpy()


def preparation(before: Before, epsilon: float) -> Callable[[Numbers], Numbers]:
    """What `cpp/matmul.h` does before a matmul; norms without what is folded into the matmul."""
    match before:
        case Before.RMS_NORM:
            return lambda x: x / _length(x, epsilon)
        case Before.LAYER_NORM:
            return partial(_layer_norm, epsilon=epsilon)
        case Before.SWIGLU:
            return _gate
        case Before.GELU:
            return _gelu
    return lambda x: x


def _length(x: Numbers, epsilon: float) -> Numbers:
    """sqrt(x·x + size · epsilon) of vectors along the last axis, which stays."""
    squares: Numbers = np.vecdot(x, x)[..., None]
    return np.sqrt(squares + x.shape[-1] * epsilon)


def _layer_norm(x: Numbers, epsilon: float) -> Numbers:
    x = x - x.mean(-1, keepdims=True)
    return x * np.float32(math.sqrt(x.shape[-1])) / _length(x, epsilon)


def _gate(x: Numbers) -> Numbers:
    gate, up = x[:, : x.shape[1] // 2], x[:, x.shape[1] // 2 :]
    return gate * up / (1 + np.exp(-gate))


def _gelu(x: Numbers) -> Numbers:
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * x * (1 + 0.044715 * x * x)))
