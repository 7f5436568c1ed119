"""Habits of heads and neurons against attention made by hand and a search through everything."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import minigpt

from minigpt.errors import UserError
from minigpt.evaluation.text import validation_tokens
from minigpt.inspection.habits import Habits, _Counts, habits, kept_habits
from minigpt.inspection.intervene import usual_work
from minigpt.inspection.rules import rules
from minigpt.inspection.trace import trace
from minigpt.runs import Run, RunFolder, load_run
from minigpt.storage.checksums import read_json, sealed, unsealed
from minigpt.tokenizers import Tokenizer, build_tokenizer
from minigpt.training.place import clear

TEXT = "Alice saw her cat. Bob saw his cat."


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    return build_tokenizer("word", 1000, [TEXT + " "] * 9)


@pytest.mark.parametrize(
    ("rule", "looked"),
    [
        ("itself", lambda ids, t: {t}),
        ("the token before", lambda ids, t: {t - 1} - {-1}),
        ("one of the 8 tokens before", lambda ids, t: {*range(max(0, t - 8), t)}),
        ("a beginning", lambda ids, t: {0, 9} & {*range(t + 1)}),
        ("its own document", lambda ids, t: {*range(9 if t >= 9 else 0, t + 1)}),
        ("the same token earlier", lambda ids, t: {s for s in range(t) if ids[s] == ids[t]}),
        ("what followed the same token", lambda ids, t: {s + 1 for s in range(t) if ids[s] == ids[t]}),
    ],
)
def test_a_rule_names_places(words: Tokenizer, rule: str, looked: Callable[[list[int], int], set[int]]) -> None:
    ids = words.encode(TEXT).tolist()
    assert len(set(ids)) < len(ids) - 1
    ids.insert(9, words.begin_of_text)
    there = rules(words)[rule](torch.tensor([ids]))[0]
    for t in range(len(ids)):
        assert {s for s in range(len(ids)) if there[t, s]} == looked(ids, t)


def test_pronouns_look_at_names_and_not_at_words_that_only_begin_a_sentence() -> None:
    text = "The cat saw Alice. There the dog saw her."
    tokenizer = build_tokenizer("word", 1000, [f"{text} "] * 9)
    ids = tokenizer.encode(text).tolist()
    pieces = [tokenizer.token_bytes[token].decode().strip() for token in ids]
    there = rules(tokenizer)["from a pronoun, a name"](torch.tensor([ids]))[0]
    from_her = {pieces[s] for s in range(len(ids)) if there[pieces.index("her"), s]}
    assert "Alice" in from_her
    assert "The" not in from_her
    assert there.any(-1).sum() == 1


def test_a_head_that_looks_back_by_one_is_told_so(words: Tokenizer) -> None:
    ids = words.encode(" ".join([TEXT] * 24))[None].astype("int64")
    n = ids.shape[1]
    weights = torch.zeros(1, 2, n, n)
    for t in range(n):
        weights[0, 0, t, max(0, t - 1)] = 0.9
        weights[0, 1, t, : t + 1] = 1 / (t + 1)
    counts = _Counts(rules(words))
    counts.add(torch.from_numpy(ids), weights, torch.zeros(1, 2, n, 4), torch.zeros(1, n, 3))
    back, alike = counts.heads([piece.decode(errors="replace") for piece in words.token_bytes])
    best = back.habits[0]
    assert (best.rule, best.share, best.weight, best.places) == ("the token before", 1.0, 0.9, n - 1)
    assert best.chance == pytest.approx(sum(1 / (t + 1) for t in range(1, n)) / (n - 1), abs=1e-4)
    uniform = {habit.rule: habit for habit in alike.habits}
    assert uniform["the same token earlier"].weight == pytest.approx(uniform["the same token earlier"].chance, abs=1e-4)
    assert "its own document" not in uniform  # there is no other that could be looked at
    assert [share for _, _, share, _ in back.pairs] == [1.0] * 3
    assert {places for *_, places in back.pairs} <= {23, 24, 48}


@pytest.fixture(scope="module")
def found(run: Path) -> tuple[Run, Habits]:
    loaded = load_run(run)
    return loaded, habits(loaded, [*range(97), *range(97)])


def test_a_neuron_is_remembered_where_it_fires_most_and_all_parts_by_their_means(found: tuple[Run, Habits]) -> None:
    loaded, told = found
    length, ids = loaded.config.model.context_length, [*range(97), *range(97)]
    whole = len(ids) // length * length
    assert told.tokens == whole
    starts = np.linspace(0, len(ids) - length, whole // length).astype(int)
    traces = [trace(loaded.model, ids[start : start + length]) for start in starts]
    for layer in range(2):
        hidden = torch.cat([torch.from_numpy(one.layers[layer].feed_forward.hidden) for one in traces])
        mixed = np.concatenate([one.layers[layer].attention.mixed for one in traces], axis=1)  # H T K
        heads, neurons = told.means[layer]
        np.testing.assert_allclose(heads, mixed.mean(1).flatten(), rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(neurons, hidden.mean(0), rtol=1e-4, atol=1e-6)
        for neuron in range(hidden.shape[1]):
            values = [value for *_, value in told.neurons[layer][str(neuron)]]
            place = int(hidden[:, neuron].abs().argmax())
            assert values[0] == pytest.approx(float(hidden[place, neuron]), rel=1e-3)
            assert [abs(value) for value in values] == sorted(map(abs, values), reverse=True)


def test_a_long_text_is_read_to_its_end(found: tuple[Run, Habits], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minigpt.inspection.habits.TOKENS", 64)
    neurons = habits(found[0], [5] * 1000 + [6]).neurons[0].values()
    assert len({token for places in neurons for _, token, _, _ in places}) == 2


def test_a_long_context_is_read_in_windows(found: tuple[Run, Habits], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("minigpt.inspection.habits.WINDOW", 8)
    assert habits(found[0], range(31)).tokens == 24


def test_a_model_that_has_diverged_is_told(found: tuple[Run, Habits]) -> None:
    model = copy.deepcopy(found[0].model)
    with torch.no_grad():
        model.token_embedding.weight[3] = torch.nan
    with pytest.raises(UserError, match="it has diverged; take an earlier checkpoint"):
        habits(replace(found[0], model=model), range(9))


def test_without_its_text_a_run_is_told_what_is_missing(found: tuple[Run, Habits]) -> None:
    data = found[0].config.data.model_copy(update={"source": "/nowhere/text.txt"})
    run = replace(found[0], config=found[0].config.model_copy(update={"data": data}))
    with pytest.raises(UserError, match=r"data.source = /nowhere/text.txt: there is no such file") as told:
        validation_tokens(run)
    assert "--text" not in str(told.value)  # explain has no such option


def test_habits_are_kept_by_training_shown_on_the_page_and_found_anew(two_runs: Path) -> None:
    folder = RunFolder(two_runs / "runs" / "tiny")
    loaded = load_run(folder.path, "last")
    assert kept_habits(loaded) == habits(loaded, validation_tokens(loaded))
    means, over = usual_work(loaded)
    assert over == f"{kept_habits(loaded).tokens:,} tokens of the validation text"
    for made, kept in zip(means, kept_habits(loaded).means, strict=True):
        for here, there in zip(made, kept, strict=True):
            np.testing.assert_allclose(here[0], there, rtol=1e-5)
    assert "that this model wrote itself" in usual_work(replace(loaded, step=loaded.step - 1))[1]
    path = folder.path / "habits.json"
    path.write_bytes(path.read_bytes().replace(b"itself", b"nobody"))
    done = minigpt("explain", "runs/tiny", "--no-open", "--prompt", "A cat", cwd=two_runs)
    assert "habits.json: damaged" in done.stderr
    assert '"habits":null' in folder.explain.read_text(encoding="utf-8")
    done = minigpt("explain", "runs/tiny", "--no-open", "--prompt", "A cat", "--habits", cwd=two_runs)
    assert (done.returncode, done.stderr) == (0, "")
    assert '"rule":"itself"' in folder.explain.read_text(encoding="utf-8")
    document = unsealed(read_json(path))
    path.write_bytes(sealed({**document, "heads": document["heads"][:1]}))
    assert kept_habits(loaded) is None
    clear(folder)  # for another run
    assert not path.exists()
