"""Fewer operations for writing: layers that read the same vector become one matrix, and a norm's gains part of it."""

import math
from collections.abc import Sequence
from enum import IntEnum

import torch
from torch import Tensor, nn

from minigpt.model.attention import Attention
from minigpt.model.feed_forward import FeedForward


class Before(IntEnum):
    """What happens to a vector before it is multiplied, as numbered in `cpp/model.h`."""

    NOTHING, RMS_NORM, LAYER_NORM, SWIGLU, GELU = range(5)


def fold(layers: Sequence[nn.Linear], norm: nn.Module | None = None) -> tuple[Tensor, Tensor, Before]:
    """Weights (out in) and biases (out) of the layers side by side, and what is left to do of the norm before them.

    RMSNorm's factor sqrt(in) becomes part of the weights as well.
    """
    weight = torch.cat([layer.weight.detach() for layer in layers])
    bias = torch.cat([weight.new_zeros(len(layer.weight)) if layer.bias is None else layer.bias for layer in layers])
    bias = bias.detach()
    if isinstance(norm, nn.LayerNorm):
        if norm.bias is not None:
            bias = bias + weight @ norm.bias.detach()
        return weight * norm.weight.detach(), bias, Before.LAYER_NORM
    if isinstance(norm, nn.RMSNorm):
        return weight * norm.weight.detach() * math.sqrt(weight.shape[1]), bias, Before.RMS_NORM
    return weight, bias, Before.NOTHING


def fold_head_gains(attention: Attention) -> Tensor | None:
    """Gains ((H + G) K) of the norms of queries and keys, with RMSNorm's factor sqrt(K)."""
    q_norm, k_norm = attention.q_norm, attention.k_norm
    if not (isinstance(q_norm, nn.RMSNorm) and isinstance(k_norm, nn.RMSNorm)):
        return None
    gains = torch.cat([q_norm.weight.repeat(attention.n_heads), k_norm.weight.repeat(attention.n_kv_heads)])
    return gains.detach() * math.sqrt(attention.d_head)


def activation(feed_forward: FeedForward) -> Before:
    """What happens before the way down."""
    return Before.GELU if feed_forward.gate_proj is None else Before.SWIGLU
