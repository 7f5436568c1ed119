from typing import Any

import numpy as np
import pytest
import torch
from conftest import ARCHITECTURES, random_model

from minigpt.inspection.trace import Array, trace

TEXT = [3, 1, 4, 1, 5, 9, 2, 6, 5]


@pytest.mark.parametrize("options", ARCHITECTURES, ids=lambda options: "-".join(map(str, options.values())))
def test_the_numbers_of_every_stage_lead_to_those_of_the_model_itself(options: dict[str, Any]) -> None:
    model = random_model(**options)
    with torch.no_grad():
        logits = model(torch.tensor([TEXT]))[0]
    traced = trace(model, TEXT)
    np.testing.assert_allclose(traced.logits, logits, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(traced.probabilities, logits.softmax(-1), rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(traced.layers[-1].logits_leaving, traced.logits)
    for before, after in zip(traced.layers, traced.layers[1:], strict=False):
        np.testing.assert_array_equal(before.leaving, after.residual)
    for layer in traced.layers:
        attention, thought = layer.attention, layer.feed_forward
        groups = len(attention.query) // len(attention.key)
        keys, values = (np.repeat(x, groups, 0) for x in (attention.placed_key, attention.value))
        scores = attention.placed_query @ keys.swapaxes(1, 2) / np.sqrt(keys.shape[-1])
        close(attention.scores, scores)
        close(attention.weights, masked_softmax(scores))
        close(attention.mixed, attention.weights @ values)
        close(layer.between, layer.residual + attention.output)
        close(layer.leaving, layer.between + thought.output)
        if thought.gate is not None:
            close(thought.hidden, thought.gate / (1 + np.exp(-thought.gate)) * thought.up)


def test_queries_and_keys_are_shown_before_and_after_they_are_normalised_and_turned() -> None:
    model = random_model(qk_norm=True, position="rope")
    attention = trace(model, TEXT).layers[0].attention
    with torch.no_grad():
        projected = model.blocks[0].attention.q_norm(torch.tensor(attention.query))
        close(attention.placed_query, model.rotary(slice(len(TEXT)))(projected).numpy())
    assert not np.allclose(attention.query, attention.placed_query)


def test_the_embedding_is_the_tokens_rows_of_the_matrix_and_positions_come_beside_it() -> None:
    model = random_model(position="learned")
    traced = trace(model, TEXT)
    rows = model.token_embedding.weight.detach().numpy()[TEXT]
    places = model.position_embedding.weight.detach().numpy()[: len(TEXT)]
    np.testing.assert_array_equal(traced.embedding, rows)
    np.testing.assert_array_equal(traced.position, places)
    close(traced.layers[0].residual, rows * 32 / np.sqrt(256) + places)


def close(actual: Array, expected: Array) -> None:
    np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def masked_softmax(scores: Array) -> Array:
    future = np.triu(np.ones(scores.shape[-2:], bool), 1)
    powers = np.where(future, 0, np.exp(scores - scores.max(-1, keepdims=True)))
    return np.asarray(powers / powers.sum(-1, keepdims=True))
