"""Every number on the way from a text to its next token, recomputed from the weights with the model's own functions.

Axis letters: T positions of the text, S the positions they look at (the same), D d_model, H query heads, G key/value
heads, K d_head, F d_ff, V vocab_size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minigpt.model.attention import Attention, attention_scores, causal_softmax
from minigpt.model.block import Block
from minigpt.model.feed_forward import FeedForward
from minigpt.model.gpt import GPT
from minigpt.model.position import Rotation

Array = NDArray[np.float32]


@dataclass(frozen=True)
class AttentionTrace:
    """How each token looked around."""

    query: Array  # H T K, as projected
    key: Array  # G T K
    value: Array  # G T K
    placed_query: Array  # H T K, normalised and rotated to its position, where the model does so
    placed_key: Array  # G T K
    scores: Array  # H T S, QKᵀ/√K, those of the future included
    weights: Array  # H T S, masked, softmax
    mixed: Array  # H T K, the weighted sums of values
    output: Array  # T D, what o_proj makes of them


@dataclass(frozen=True)
class FeedForwardTrace:
    """How each token thought by itself."""

    gate: Array | None  # T F, only of swiglu
    up: Array  # T F
    hidden: Array  # T F, the neurons' activations
    output: Array  # T D


@dataclass(frozen=True)
class LayerTrace:
    """One block: two residual lines, and what the head would already say after each."""

    residual: Array  # T D, what enters
    attention_input: Array  # T D, normalised
    attention: AttentionTrace
    between: Array  # T D, residual + attention.output
    feed_forward_input: Array  # T D, normalised
    feed_forward: FeedForwardTrace
    leaving: Array  # T D, between + feed_forward.output
    logits_between: Array  # T V, of final norm and head on `between` (nostalgebraist 2020, 'logit lens')
    logits_leaving: Array  # T V


@dataclass(frozen=True)
class Trace:
    """The whole way of a text through a model."""

    token_ids: list[int]  # T
    embedding: Array  # T D, rows of the embedding matrix
    position: Array | None  # T D, learned ones; rotary positions turn queries and keys instead
    layers: list[LayerTrace]
    normed: Array  # T D, after the final norm
    logits: Array  # T V
    probabilities: Array  # T V


@torch.inference_mode()
def trace(model: GPT, token_ids: Sequence[int]) -> Trace:
    """Follow `token_ids` (1 to context_length) through the model; float32 on the CPU, whatever the model's device."""
    assert 0 < len(token_ids) <= model.config.context_length
    ids = model.batch(token_ids)
    x, rotation = model.embed(ids)
    layers = []
    for block in model.layers:
        layer, x = _trace_block(model, block, x, rotation)
        layers.append(layer)
    logits, positions = layers[-1].logits_leaving, model.position_embedding
    return Trace(
        list(token_ids),
        _array(model.token_embedding(ids)),
        None if positions is None else _array(positions.weight[None, : len(token_ids)]),
        layers,
        _array(model.final_norm(x)),
        logits,
        torch.from_numpy(logits).softmax(-1).numpy(),
    )


def _trace_block(model: GPT, block: Block, x: Tensor, rotation: Rotation | None) -> tuple[LayerTrace, Tensor]:
    def lens(residual: Tensor) -> Array:
        return _array(model.lm_head(model.final_norm(residual)))

    attention_input = block.attention_norm(x)
    attention, looked = _trace_attention(block.attention, attention_input, rotation)
    between = x + looked
    feed_forward_input = block.feed_forward_norm(between)
    feed_forward, thought = _trace_feed_forward(block.feed_forward, feed_forward_input)
    leaving = between + thought
    layer = LayerTrace(
        _array(x),
        _array(attention_input),
        attention,
        _array(between),
        _array(feed_forward_input),
        feed_forward,
        _array(leaving),
        lens(between),
        lens(leaving),
    )
    return layer, leaving


def _trace_attention(attention: Attention, x: Tensor, rotation: Rotation | None) -> tuple[AttentionTrace, Tensor]:
    looked = look_around(attention, x, rotation)
    output = attention.join(looked["mixed"])
    return AttentionTrace(**{name: _array(tensor) for name, tensor in looked.items()}, output=_array(output)), output


def look_around(attention: Attention, x: Tensor, rotation: Rotation | None) -> dict[str, Tensor]:
    """All of an `AttentionTrace` but its output, of a batch: what the fused kernel computes and throws away."""
    query, key, value = attention.project(x)  # x: B T D
    placed_query, placed_key = attention.place(query, key, rotation)
    groups = attention.n_heads // attention.n_kv_heads
    scores = attention_scores(placed_query, placed_key.repeat_interleave(groups, 1))
    weights = causal_softmax(scores)
    return {
        "query": query,
        "key": key,
        "value": value,
        "placed_query": placed_query,
        "placed_key": placed_key,
        "scores": scores,
        "weights": weights,
        "mixed": weights @ value.repeat_interleave(groups, 1),
    }


def _trace_feed_forward(feed_forward: FeedForward, x: Tensor) -> tuple[FeedForwardTrace, Tensor]:
    gate = None if feed_forward.gate_proj is None else _array(feed_forward.gate_proj(x))
    hidden = feed_forward.activate(x)
    output = feed_forward.down_proj(hidden)
    return FeedForwardTrace(gate, _array(feed_forward.up_proj(x)), _array(hidden), _array(output)), output


def _array(tensor: Tensor) -> Array:
    """The only text of a batch, as numbers."""
    return tensor[0].float().cpu().numpy()
