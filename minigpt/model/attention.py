"""Self-attention: every token asks (query), every earlier token answers (key) and offers (value).

Axis letters, used in comments and names: B batch, T time (positions being computed), S source (positions that can be
seen, cached ones included), D d_model, H query heads, G key/value heads, K d_head.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minigpt.config.hyperparameters import ModelConfig
from minigpt.model.cache import LayerCache
from minigpt.model.layers import Linear
from minigpt.model.norm import make_head_norm
from minigpt.model.position import Rotation

WORTH_HALVING = 64
"""Positions in half a context from which on two small attentions are faster than one large."""


class Attention(nn.Module):
    """Causal multi-head attention (Vaswani 2017), grouped-query where `n_kv_heads < n_heads` (Ainslie 2023)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.n_heads, self.n_kv_heads, self.d_head = config.n_heads, config.n_kv_heads, config.d_head
        self.q_proj = Linear(config.d_model, config.n_heads * config.d_head, bias=config.bias)
        self.k_proj = Linear(config.d_model, config.n_kv_heads * config.d_head, bias=config.bias)
        self.v_proj = Linear(config.d_model, config.n_kv_heads * config.d_head, bias=config.bias)
        self.o_proj = Linear(config.n_heads * config.d_head, config.d_model, bias=config.bias)
        self.q_norm, self.k_norm = make_head_norm(config), make_head_norm(config)

    def forward(
        self, x: Tensor, rotation: Rotation | None, cache: LayerCache | None = None
    ) -> Tensor:  # B T D -> B T D
        query, key, value = self.project(x)
        query, key = self.place(query, key, rotation)
        if cache is not None:
            key, value = cache.append(key, value)
        if (
            x.device.type == "cpu"
            and self.training
            and (torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu"))
        ):
            # Plain matmuls go backward faster than the CPU's attention kernel (docs/experiments.md).
            groups = self.n_heads // self.n_kv_heads
            mixed = causal_mixture(query, key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1))
        else:
            several = x.shape[1] > 1  # a cache takes a whole prompt while empty, and then one token at a time
            mixed = F.scaled_dot_product_attention(
                query, key, value, is_causal=several, enable_gqa=self.n_kv_heads < self.n_heads
            )
        return self.join(mixed)

    def project(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries (B H T K), keys and values (B G T K) of `x` (B T D)."""
        query = self._split(self.q_proj(x), self.n_heads)
        return query, self._split(self.k_proj(x), self.n_kv_heads), self._split(self.v_proj(x), self.n_kv_heads)

    def place(self, query: Tensor, key: Tensor, rotation: Rotation | None) -> tuple[Tensor, Tensor]:
        """The queries and keys, normalised, and turned to their positions."""
        query, key = self.q_norm(query), self.k_norm(key)
        return (query, key) if rotation is None else (rotation(query), rotation(key))

    def join(self, mixed: Tensor) -> Tensor:  # B H T K -> B T D
        """What the heads have gathered, written into the residual stream."""
        return self.o_proj(mixed.transpose(1, 2).flatten(2))

    @torch.no_grad()
    def hand_on_values(self) -> None:
        """Make o_proj undo v_proj: what a head has seen comes out in the same directions in which it went in."""
        values = self.v_proj.weight.unflatten(0, (self.n_kv_heads, self.d_head))  # G K D
        self.o_proj.weight.copy_(values.repeat_interleave(self.n_heads // self.n_kv_heads, 0).flatten(0, 1).T)

    def _split(self, x: Tensor, n_heads: int) -> Tensor:  # B T (H K) -> B H T K
        return x.unflatten(2, (n_heads, self.d_head)).transpose(1, 2)


def causal_mixture(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention in plain matmuls: the values (B H T K) that each of the queries (B H T K) gets by its weights.

    The earlier half of the queries is spared the later half of the keys, all of which it may not see.
    """
    half = query.shape[2] // 2
    if half < WORTH_HALVING:
        return attention_weights(query, key) @ value
    early = attention_weights(query[:, :, :half], key[:, :, :half]) @ value[:, :, :half]
    late = attention_weights(query[:, :, half:], key) @ value
    return torch.cat((early, late), dim=2)


def attention_weights(query: Tensor, key: Tensor) -> Tensor:
    """Who looks at whom: softmax(Q Kᵀ / √K) under the causal mask, each row summing to 1.

    query is B H T K, key is B H S K with S >= T; the T queries stand at the last T of the S positions.
    Returns B H T S in the dtype of the query. This is what the fused kernel computes and throws away.
    """
    return causal_softmax(attention_scores(query, key))


def attention_scores(query: Tensor, key: Tensor) -> Tensor:
    """How well each query (B H T K) matches each key (B H S K): QKᵀ/√K (B H T S), the future included."""
    return (query / math.sqrt(query.shape[-1])) @ key.transpose(-1, -2)


def causal_softmax(scores: Tensor) -> Tensor:
    """Shares that sum to 1 in each row of `scores` (B H T S), in their dtype, and that are 0 for each query's future.

    The future is added as -∞: unlike `masked_fill`, an addition has nothing to do on the way back.
    """
    n_queries, n_keys = scores.shape[-2:]
    future = torch.full((n_queries, n_keys), -math.inf, dtype=scores.dtype, device=scores.device)
    return (scores + future.triu(n_keys - n_queries + 1)).softmax(-1)
