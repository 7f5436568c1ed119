"""A part that is changed is one whose weights or activations were edited by hand; the parts of a logit sum to it."""

from typing import Any

import numpy as np
import pytest
import torch
from conftest import random_model
from torch import Tensor

from minigpt.errors import UserError
from minigpt.inspection import intervene
from minigpt.inspection.attribution import attribution
from minigpt.inspection.intervene import Change, changed, changed_logits, check_parts, describe, mean_work, parts, work
from minigpt.inspection.patching import carried, patching
from minigpt.inspection.trace import trace
from minigpt.model.gpt import GPT

TEXT, OTHER = [3, 1, 4, 1, 5, 9], [3, 7, 4, 1, 5, 2]
KINDS: list[dict[str, Any]] = [
    {"n_kv_heads": 2},
    {"position": "learned", "norm": "layernorm", "feed_forward": "gelu", "bias": True, "tie_embeddings": False},
    {"scale_embeddings": True, "qk_norm": False},
]
SOME = ["1.1", "1.neuron3", "1.neurons", "1", "2.3", "2"]
Done = list[tuple[Tensor, Tensor]]


def own(part: str, model: GPT) -> tuple[int, slice, slice]:
    """The layer of a part, and its own of what its layer's heads and its neurons have made."""
    layer, _, inside = part.partition(".")
    size, everything, nothing = model.config.d_head, slice(None), slice(0)
    if inside.isdigit():
        return int(layer) - 1, slice((int(inside) - 1) * size, int(inside) * size), nothing
    neuron = inside.removeprefix("neuron")
    neurons = slice(int(neuron), int(neuron) + 1) if neuron.isdigit() else everything
    return int(layer) - 1, nothing if inside else everything, neurons


def put_zeros(model: GPT, part: str) -> None:
    """Set the weights of a part to zero."""
    layer, heads, neurons = own(part, model)
    with torch.no_grad():
        model.blocks[layer].attention.o_proj.weight[:, heads] = 0
        model.blocks[layer].feed_forward.down_proj.weight[:, neurons] = 0


def put(model: GPT, part: str, done: Done, at: slice, source: slice) -> None:
    """Let the functions of a layer make other numbers for a part."""
    layer, heads, neurons = own(part, model)
    attention, feed_forward = model.blocks[layer].attention, model.blocks[layer].feed_forward
    activate = feed_forward.activate

    def join(mixed: Tensor) -> Tensor:
        gathered = mixed.transpose(1, 2).flatten(2).clone()
        gathered[0, at, heads] = done[layer][0][source, heads]
        return attention.o_proj(gathered)

    def other(x: Tensor) -> Tensor:
        hidden = activate(x).clone()
        hidden[0, at, neurons] = done[layer][1][source, neurons]
        return hidden

    attention.join, feed_forward.activate = join, other


def done_in(model: GPT, text: list[int]) -> Done:
    """What all heads and neurons make of a text, by its trace."""
    layers = trace(model, text).layers
    mixed = [torch.from_numpy(layer.attention.mixed).transpose(0, 1).flatten(1) for layer in layers]
    return [(heads, torch.from_numpy(layer.feed_forward.hidden)) for heads, layer in zip(mixed, layers, strict=True)]


def same(found: Any, edited: GPT) -> None:
    np.testing.assert_allclose(found, trace(edited, TEXT).logits[-1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_without_a_part_the_logits_are_those_of_weights_edited_by_hand(kind: dict[str, Any]) -> None:
    model = random_model(**kind)
    rows = [[part] for part in parts(model.config)] + [["1.neuron3"], ["1.2", "2.neuron0", "2.neuron5"], []]
    found = changed_logits(model, TEXT, [[Change(part) for part in row] for row in rows])
    for row, logits in zip(rows, found, strict=True):
        edited = random_model(**kind)
        for part in row:
            put_zeros(edited, part)
        same(logits, edited)
        assert bool(row) == (np.abs(logits - found[-1]).max() > 5e-5)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_part_at_its_mean_makes_the_mean_of_what_it_makes_in_all_texts(kind: dict[str, Any]) -> None:
    model = random_model(**kind)
    means = mean_work(model, [TEXT, OTHER[:3]])
    first, second = done_in(model, TEXT), done_in(model, OTHER[:3])
    by_hand = [
        (torch.cat((one[0][1:], two[0][1:])).mean(0, True), torch.cat((one[1][1:], two[1][1:])).mean(0, True))
        for one, two in zip(first, second, strict=True)
    ]
    for part, logits in zip(SOME, changed_logits(model, TEXT, [[Change(part, means)] for part in SOME]), strict=True):
        put(edited := random_model(**kind), part, by_hand, slice(None), slice(None))
        same(logits, edited)


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_part_carried_over_makes_what_it_made_in_the_other_text(kind: dict[str, Any]) -> None:
    model = random_model(**kind)
    places = [(2, 1, OTHER[:4]), (5, 3, OTHER[:4]), (5, 5, OTHER), (None, 0, OTHER)]
    for position, source, other in places:
        rows = [[carried(part, work(model, other), position, source)] for part in SOME]
        at = (slice(None),) * 2 if position is None else (slice(position, position + 1), slice(source, source + 1))
        for part, logits in zip(SOME, changed_logits(model, TEXT, rows), strict=True):
            put(edited := random_model(**kind), part, done_in(model, other), *at)
            same(logits, edited)


@pytest.mark.parametrize(("other", "positions"), [(OTHER, [0, 1, 2, 3, 4, 5, None]), ([8, 5, 2], [3, 4, 5])])
def test_the_table_of_all_parts_has_what_each_alone_changes(other: list[int], positions: list[int | None]) -> None:
    model, shift = random_model(), len(other) - len(TEXT)
    found = patching(model, TEXT, other)
    assert (found.parts, found.positions) == (parts(model.config), positions)
    logs = [torch.from_numpy(trace(model, text).logits[-1]).log_softmax(-1) for text in (TEXT, other)]
    first = int(logs[0].argmax())
    assert found.words == (first, next(word for word in logs[1].topk(2).indices.tolist() if word != first))
    for side, log in zip((found.first, found.second), logs, strict=True):
        np.testing.assert_allclose(side, log[list(found.words)], atol=1e-5)
    there = work(model, other)
    places = [(part, p) for part in found.parts for p in positions]
    rows = [[carried(part, there, p, 0 if p is None else p + shift)] for part, p in places]
    alone = torch.from_numpy(changed_logits(model, TEXT, rows)).log_softmax(-1)[:, list(found.words)]
    np.testing.assert_allclose(found.carried.reshape(-1, 2), alone, atol=1e-5)


def test_a_table_that_would_take_too_long_has_layers_only_or_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = random_model()
    cost = 2 * len(TEXT) * model.n_parameters()
    monkeypatch.setattr(intervene, "AFFORDABLE", 10 * cost)
    assert patching(model, TEXT, OTHER).parts == ["1", "2"]
    monkeypatch.setattr(intervene, "AFFORDABLE", cost)
    with pytest.raises(UserError, match="--beside: takes too long"):
        patching(model, TEXT, OTHER)


def test_the_model_is_whole_again_afterwards() -> None:
    model = random_model()
    before = trace(model, TEXT).logits
    with changed(model, [[Change("1")]]):
        assert np.abs(trace(model, TEXT).logits - before).max() > 1e-3
    np.testing.assert_array_equal(trace(model, TEXT).logits, before)


def test_parts_have_names_and_others_are_refused() -> None:
    config = random_model().config
    assert len(parts(config)) == config.n_layers * (config.n_heads + 2)
    named = {
        "2.1": "layer 2, head 1",
        "2.neurons": "layer 2, neurons",
        "2": "layer 2",
        "1.neuron0": "layer 1, neuron 0",
        "1.4=mean": "layer 1, head 4 (its mean instead)",
    }
    check_parts(named, config)
    assert [describe(name) for name in named] == list(named.values())
    for name in ("0.1", "1.0", "9", "1.9", "1.neuron", "1.neuron9999", "1.1=", "=mean", "one", ""):
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
