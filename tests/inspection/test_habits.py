"""Habits of heads and neurons against attention made by hand and a search through everything."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import minigpt

from minigpt.evaluation.text import validation_tokens
from minigpt.inspection.habits import Habits, _Counts, habits, kept_habits, rules
from minigpt.inspection.trace import trace
from minigpt.runs import Run, RunFolder, load_run
from minigpt.tokenizers import Tokenizer, build_tokenizer

TEXT = "Alice saw her cat. Bob saw his cat."


@pytest.fixture(scope="module")
def words() -> Tokenizer:
    return build_tokenizer("word", 1000, [TEXT + " "] * 9)


@pytest.mark.parametrize(
    ("rule", "looked"),
    [
        ("itself", lambda ids, t: {t}),
        ("the token before", lambda ids, t: {t - 1} - {-1}),
        ("a beginning", lambda ids, t: {0}),
        ("the same token earlier", lambda ids, t: {s for s in range(t) if ids[s] == ids[t]}),
        ("what followed it last time", lambda ids, t: {s + 1 for s in range(t) if ids[s] == ids[t]}),
    ],
)
def test_a_rule_names_places(words: Tokenizer, rule: str, looked: Callable[[list[int], int], set[int]]) -> None:
    ids = words.encode(TEXT).tolist()
    assert len(set(ids)) < len(ids)
    there = rules(words)[rule](torch.tensor([ids]))[0]
    for t in range(len(ids)):
        assert {s for s in range(t + 1) if there[t, s]} == looked(ids, t)


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
    counts.add(torch.from_numpy(ids), weights, torch.zeros(1, n, 3))
    back, alike = counts.heads([piece.decode(errors="replace") for piece in words.token_bytes])
    best = back.habits[0]
    assert (best.rule, best.share, best.weight, best.places) == ("the token before", 1.0, 0.9, n - 1)
    assert best.chance == pytest.approx(sum(1 / (t + 1) for t in range(1, n)) / (n - 1), abs=1e-4)
    uniform = {habit.rule: habit for habit in alike.habits}
    assert uniform["the same token earlier"].weight == pytest.approx(uniform["the same token earlier"].chance, abs=1e-4)
    assert [share for _, _, share, _ in back.pairs] == [1.0] * 3
    assert {places for *_, places in back.pairs} <= {23, 24, 48}


@pytest.fixture(scope="module")
def found(run: Path) -> tuple[Run, Habits]:
    loaded = load_run(run)
    return loaded, habits(loaded, [*range(97), *range(97)])


def test_a_neuron_is_remembered_where_it_fires_most(found: tuple[Run, Habits]) -> None:
    loaded, told = found
    length, ids = loaded.config.model.context_length, [*range(97), *range(97)]
    whole = len(ids) // length * length
    assert told.tokens == whole
    for layer in range(2):
        hidden = torch.cat(
            [
                torch.from_numpy(trace(loaded.model, ids[start : start + length]).layers[layer].feed_forward.hidden)
                for start in range(0, whole, length)
            ]
        )
        for neuron in range(hidden.shape[1]):
            values = [value for *_, value in told.neurons[layer][str(neuron)]]
            place = int(hidden[:, neuron].abs().argmax())
            assert values[0] == pytest.approx(float(hidden[place, neuron]), rel=1e-3)
            assert [abs(value) for value in values] == sorted(map(abs, values), reverse=True)


def test_habits_are_kept_by_training_shown_on_the_page_and_found_anew(two_runs: Path) -> None:
    folder = RunFolder(two_runs / "runs" / "tiny")
    loaded = load_run(folder.path, "last")
    assert kept_habits(loaded) == habits(loaded, validation_tokens(loaded)[:8192].tolist())
    path = folder.path / "habits.json"
    path.write_bytes(path.read_bytes().replace(b"itself", b"nobody"))
    done = minigpt("explain", "runs/tiny", "--no-open", "--prompt", "A cat", cwd=two_runs)
    assert "habits.json: damaged" in done.stderr
    assert '"habits":null' in folder.explain.read_text(encoding="utf-8")
    done = minigpt("explain", "runs/tiny", "--no-open", "--prompt", "A cat", "--habits", cwd=two_runs)
    assert (done.returncode, done.stderr) == (0, "")
    assert '"rule":"itself"' in folder.explain.read_text(encoding="utf-8")
