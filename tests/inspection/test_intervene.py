"""A part that is switched off is one whose weights are zero; and the parts of a logit sum to it."""

from typing import Any

import numpy as np
import pytest
import torch
from conftest import random_model

from minigpt.errors import UserError
from minigpt.inspection.attribution import attribution
from minigpt.inspection.intervene import check_parts, describe, logits_without, parts, without
from minigpt.inspection.trace import trace
from minigpt.model.gpt import GPT

TEXT = [3, 1, 4, 1, 5, 9]
KINDS: list[dict[str, Any]] = [
    {"n_kv_heads": 2},
    {"position": "learned", "norm": "layernorm", "feed_forward": "gelu", "bias": True, "tie_embeddings": False},
    {"scale_embeddings": True, "qk_norm": False},
]


def by_hand(model: GPT, part: str) -> None:
    """Set the weights of a part to zero."""
    layer, _, inside = part.partition(".")
    block, size = model.blocks[int(layer) - 1], model.config.d_head
    with torch.no_grad():
        if inside in ("neurons", ""):
            block.feed_forward.down_proj.weight.zero_()
        if inside == "":
            block.attention.o_proj.weight.zero_()
        elif inside != "neurons":
            block.attention.o_proj.weight[:, (int(inside) - 1) * size : int(inside) * size] = 0


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_without_a_part_the_logits_are_those_of_weights_edited_by_hand(kind: dict[str, Any]) -> None:
    model = random_model(**kind)
    rows = [[part] for part in parts(model.config)] + [["1.2", "2.neurons"], []]
    found = logits_without(model, TEXT, rows)
    for row, logits in zip(rows, found, strict=True):
        edited = random_model(**kind)
        for part in row:
            by_hand(edited, part)
        np.testing.assert_allclose(logits, trace(edited, TEXT).logits[-1], rtol=1e-5, atol=1e-5)
        assert bool(row) == (np.abs(logits - found[-1]).max() > 1e-3)


def test_the_model_is_whole_again_afterwards() -> None:
    model = random_model()
    before = trace(model, TEXT).logits
    with without(model, [["1"]]):
        assert np.abs(trace(model, TEXT).logits - before).max() > 1e-3
    np.testing.assert_array_equal(trace(model, TEXT).logits, before)


def test_parts_have_names_and_others_are_refused() -> None:
    config = random_model().config
    assert len(parts(config)) == config.n_layers * (config.n_heads + 2)
    assert [describe(part) for part in ("2.1", "2.neurons", "2")] == [
        "layer 2, head 1",
        "layer 2, neurons",
        "layer 2",
    ]
    for name in ("0.1", "1.0", "9", "1.9", "1.neuron", "one", ""):
        with pytest.raises(UserError, match=r"--without .*layers 1 to 2 with heads 1 to"):
            check_parts([name], config)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_what_the_parts_add_sums_to_the_logits(kind: dict[str, Any]) -> None:
    model = random_model(**kind)
    traced, words = trace(model, TEXT), [7, 0, 30]
    found = attribution(model, traced, words)
    np.testing.assert_allclose(sum(found.values()), traced.logits[-1][words], rtol=1e-5, atol=1e-4)
    assert ("biases" in found) == bool(kind.get("bias"))
    assert ("position" in found) == (kind.get("position") == "learned")
    assert set(found) >= {part for part in parts(model.config) if "." in part}
    with torch.no_grad():  # a part of its own: only what it writes differs
        model.blocks[1].feed_forward.down_proj.weight[:] = 0
    assert np.abs(attribution(model, trace(model, TEXT), words)["2.neurons"]).max() == 0
