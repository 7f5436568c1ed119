"""Fewer operations for inference: layers that read the same vector become one matrix, and a norm's gains part of it."""

import math
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

import torch
from torch import Tensor, nn

from minigpt.model.block import Block


class Before(IntEnum):
    """What happens to a vector before it is multiplied, as numbered in `cpp/model.h`."""

    NOTHING, RMS_NORM, LAYER_NORM, SWIGLU, GELU = range(5)


class Folded(NamedTuple):
    """A matrix, and what comes before it."""

    weight: Tensor  # out in
    bias: Tensor  # out
    before: Before
    epsilon: float = 0.0  # of a norm


class FoldedBlock(NamedTuple):
    """A block as four matrices. Gains ((H + G) K) are those of queries and keys, with RMSNorm's factor sqrt(K)."""

    qkv: Folded
    o: Folded
    up: Folded  # where there is a gate, it comes first
    down: Folded
    gains: Tensor | None


def fold(layers: Sequence[nn.Linear], before: nn.Module | Before) -> Folded:
    """The layers side by side; gains and biases of the norm before them, and RMSNorm's factor, become part of them."""
    weight = torch.cat([layer.weight.detach() for layer in layers])
    biases = [weight.new_zeros(len(layer.weight)) if layer.bias is None else layer.bias.detach() for layer in layers]
    bias = torch.cat(biases)
    if isinstance(before, nn.LayerNorm):
        if before.bias is not None:
            bias = bias + weight @ before.bias.detach()
        return Folded(weight * before.weight.detach(), bias, Before.LAYER_NORM, before.eps)
    if isinstance(before, nn.RMSNorm):
        weight = weight * before.weight.detach() * math.sqrt(weight.shape[1])
        return Folded(weight, bias, Before.RMS_NORM, before.eps or 0.0)
    assert isinstance(before, Before)
    return Folded(weight, bias, before)


def fold_block(block: Block) -> FoldedBlock:
    """All that a block is for inference."""
    attention, feed_forward = block.attention, block.feed_forward
    q_norm, k_norm, gate = attention.q_norm, attention.k_norm, feed_forward.gate_proj
    gains = None
    if isinstance(q_norm, nn.RMSNorm) and isinstance(k_norm, nn.RMSNorm):
        gains = torch.cat([q_norm.weight.repeat(attention.n_heads), k_norm.weight.repeat(attention.n_kv_heads)])
        gains = gains.detach() * math.sqrt(attention.d_head)
    return FoldedBlock(
        fold([attention.q_proj, attention.k_proj, attention.v_proj], block.attention_norm),
        fold([attention.o_proj], Before.NOTHING),
        fold([*filter(None, [gate]), feed_forward.up_proj], block.feed_forward_norm),
        fold([feed_forward.down_proj], Before.GELU if gate is None else Before.SWIGLU),
        gains,
    )
