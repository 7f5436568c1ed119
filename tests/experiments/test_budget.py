"""Sizes follow from the text, the minutes and the machine."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import RECIPE, minigpt

from minigpt.config.hyperparameters import Config, DataConfig
from minigpt.config.recipe import load_recipe
from minigpt.data.sources import Source, open_source
from minigpt.experiments import budget
from minigpt.experiments.budget import DOCUMENTS, LADDER, PAIRS, Text, choose, rung, sizes, survey
from minigpt.experiments.throughput import training_flops
from minigpt.hardware import memory
from minigpt.model.gpt import GPT
from minigpt.training import corpus, run
from minigpt.training.budget import tokens_per_step

AUTO = RECIPE.with_name("auto.yaml")
PLAY = Text(n_characters=1_000_000, n_letters=65, n_words=13_000, rare=0.03, document=1_000_000)
SENTENCE = "To be, or not to be, that is the question.\n"


def test_a_text_is_looked_at(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one two two. " * 10 + "once")
    (tmp_path / "b.txt").write_text("one two")
    text = survey(open_source(DataConfig(source=str(tmp_path))))
    assert (text.n_characters, text.document) == (141, 70.5)
    assert text.n_letters == len(set("one two two. once"))
    assert text.n_words == 4  # "one", " one", " two", "."; " once" comes only once
    assert text.rare > 0


def test_all_of_a_long_text_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "SURVEYED", 10)
    for name, text in (("a", "abcabcabcabc"), ("b", "defg")):
        (tmp_path / f"{name}.txt").write_text(text)
    text = survey(open_source(DataConfig(source=str(tmp_path))))
    assert (text.n_characters, text.document, text.n_letters) == (16, 8, 3)


def test_more_time_makes_no_smaller_model() -> None:
    chosen = [sizes(PLAY, operations) for operations in (1e11, 1e12, 1e13, 1e14, 1e16)]
    for key in ("model.n_layers", "model.d_model", "model.context_length"):
        values = [one[key] for one in chosen]
        assert values == sorted(values)
        assert values[0] < values[-1]


@pytest.mark.parametrize(
    ("ladder", "kind", "document"),
    [(LADDER, "character", 10**9), (PAIRS, "bpe", 10**9), (DOCUMENTS, "word", 700)],
    ids=["characters", "pairs of bytes", "short documents"],
)
def test_the_rungs_themselves_are_chosen(ladder: tuple[Any, ...], kind: str, document: int) -> None:
    text = replace(PLAY, n_characters=10**10, document=document)
    for operations, *shape in ladder:
        chosen = sizes(text, operations, {"tokenizer.kind": kind})
        assert [chosen[key] for key in budget.RUNG] == shape


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (PLAY, "character"),
        (Text(20_000_000, 90, 30_000, 0.01, 10_000), "bpe"),
        (Text(1_000_000, 4000, 13_000, 0.03, 10_000), "bpe"),
        (Text(1_000_000, 60, 2_600, 0.0, 600), "word"),
    ],
    ids=["short", "long", "many characters", "few words"],
)
def test_the_tokenizer_suits_the_text(text: Text, kind: str) -> None:
    assert sizes(text, 1e13)["tokenizer.kind"] == kind
    assert sizes(text, 1e13, {"tokenizer.kind": "byte"})["tokenizer.kind"] == "byte"


@pytest.mark.parametrize(("kind", "size"), [("word", 8192 + 257), ("bpe", 1024), ("byte", 257), ("gpt2", 50_257)])
def test_a_tokenizer_that_is_asked_for_gets_a_size_that_goes_with_it(kind: str, size: int) -> None:
    given = {"tokenizer.kind": kind}
    assert sizes(PLAY, 1e13, given)["tokenizer.vocab_size"] == size
    chosen = sizes(PLAY, 1e13, {**given, "tokenizer.vocab_size": 5000})
    assert chosen["tokenizer.vocab_size"] == (5000 if kind in ("word", "bpe") else size)


def test_what_is_given_is_kept_and_the_rest_goes_with_it() -> None:
    stories = Text(8_000_000, 60, 2_600, 0.0, 600)
    short = sizes(stories, 8e12, {"model.context_length": 64})
    assert (short["model.context_length"], short["optimizer.residual_fraction"]) == (64, 1.0), "no story fits in"
    assert sizes(PLAY, 1e15)["model.dropout"] > 0
    assert sizes(PLAY, 1e15, {"model.d_model": 4096})["model.dropout"] == 0, "so wide a model reads little"


def test_a_context_is_shorter_than_the_text() -> None:
    assert sizes(Text(100, 28, 5, 0.5, 100), 1e13)["model.context_length"] <= 25
    assert sizes(PLAY, 1e13)["model.context_length"] > 25


def test_whole_documents_fit_in_where_they_are_short() -> None:
    stories = Text(8_000_000, 60, 2_600, 0.0, 600)
    for operations in (0.7e12, 8e12, 5e14):
        chosen, play = sizes(stories, operations), sizes(PLAY, operations)
        assert chosen["model.context_length"] >= 1.5 * 600 / 4.5
        assert chosen["optimizer.residual_fraction"] < play["optimizer.residual_fraction"]
        assert chosen["model.n_layers"] < play["model.n_layers"], "to copy is learned sooner by few layers"
        assert chosen["model.d_model"] > play["model.d_model"]
        tokens = [some["model.context_length"] * some["training.batch_size"] for some in (chosen, play)]
        assert tokens[0] <= tokens[1], "and by many steps"
    novel = Text(8_000_000, 60, 2_600, 0.0, 6_000)
    assert sizes(novel, 8e12)["model.context_length"] == rung(LADDER, 8e12)[2], "a long document does not fit in"


def test_the_shorter_a_text_and_the_longer_a_training_the_more_dropout() -> None:
    short = replace(PLAY, n_characters=100_000)
    assert [sizes(short, operations)["model.dropout"] for operations in (5e11, 2e12, 5e12, 1e13)] == [0, 0.1, 0.2, 0.3]
    assert [sizes(PLAY, operations)["model.dropout"] for operations in (1e13, 2e14, 5e14, 1e15)] == [0, 0.1, 0.2, 0.3]
    assert sizes(short, 1e18)["model.d_model"] < sizes(PLAY, 1e18)["model.d_model"], "it is read more often instead"


def test_training_ends_before_a_short_text_is_learned_by_heart(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.txt").write_text(SENTENCE * 400)

    def chosen(minutes: float) -> tuple[int | None, str]:
        settings = [f"data.source={tmp_path / 'mine.txt'}", f"training.max_minutes={minutes}", "run.device=cpu"]
        return choose(load_recipe(AUTO, settings)).training.max_steps, capsys.readouterr().err

    short, much, more = chosen(0.001), chosen(60), chosen(600)
    assert (short[0], "by heart" in short[1]) == (None, False)
    assert much[0] == more[0] == 300, "a training of fewer steps has hardly begun"
    assert re.search("about [0-9,]+ times, and after 16[0-9] it is learned by heart", much[1])


def test_a_text_is_opened_once_for_the_choice_and_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[DataConfig] = []

    def count(config: DataConfig) -> Source:
        opened.append(config)
        return open_source(config)

    for module in (budget, corpus, run):
        monkeypatch.setattr(module, "open_source", count)
    (tmp_path / "mine.txt").write_text(SENTENCE * 400)
    settings = ["data.source=mine.txt", "training.max_minutes=0.01", "training.max_steps=1"]
    assert minigpt("train", AUTO, *settings, "sampling.max_new_tokens=5", cwd=tmp_path).returncode == 0
    assert len(opened) == 1


@pytest.mark.parametrize(
    ("device", "most", "call", "shape"),
    [("cpu", 1e11, 1e-3, (3, 96)), ("cuda", 4e14, 2e-2, (6, 576)), ("cuda", 1e12, 2e-2, (4, 192))],
    ids=["a processor", "a large GPU", "a small GPU"],
)
def test_a_model_is_large_enough_to_fill_its_device(
    device: str, most: float, call: float, shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small model on a GPU comes to a rate for which a small model would be right."""

    def rate(config: Config, vocab_size: int, _: float) -> float:
        with torch.device("meta"):
            model = GPT(config.model.model_copy(update={"vocab_size": vocab_size}))
        operations = training_flops(model.config, model) * tokens_per_step(config)
        return operations / (call + operations / most)

    monkeypatch.setattr(budget, "survey", lambda _: Text(10**9, 200, 10**6, 0.1, 10**5))
    monkeypatch.setattr(budget, "choose_device", lambda _: torch.device(device))
    monkeypatch.setattr(budget, "lack_of_memory", lambda *_: "")
    monkeypatch.setattr(budget, "training_rate", rate)
    chosen = choose(load_recipe(AUTO, ["data.source=python", "training.max_minutes=3"])).model
    assert (chosen.n_layers, chosen.d_model) == shape


def test_a_run_keeps_what_was_chosen_for_it_and_goes_on_with_it(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text(SENTENCE * 400)
    settings = ["data.source=mine.txt", "run.compile=false", "sampling.max_new_tokens=5", "training.evaluate_every=50"]
    done = minigpt("train", AUTO, *settings, "training.max_minutes=0.01", "training.max_steps=3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    config = yaml.safe_load((tmp_path / "runs/auto/config.yaml").read_text())
    said = next(line for line in done.stderr.splitlines() if line.startswith("chosen"))
    for section, name in (
        ("model", "d_model"),
        ("model", "dropout"),
        ("tokenizer", "kind"),
        ("training", "batch_size"),
    ):
        assert f"{section}.{name}={config[section][name]}" in said
    assert config["sampling"]["precision"] == "int8", "what auto gives for training is no wish for sampling"
    done = minigpt("train", "--resume", "runs/auto", "training.max_minutes=1", "training.max_steps=5", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "chosen" not in done.stderr
    done = minigpt("train", "--resume", "runs/auto", "training.batch_size=auto", cwd=tmp_path)
    assert (done.returncode, "training.batch_size = auto" in done.stderr) == (2, True)


def test_processes_share_a_batch(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text(SENTENCE * 400)
    config = load_recipe(AUTO, [f"data.source={tmp_path / 'mine.txt'}", "training.max_minutes=0.01"])
    assert choose(config, n_processes=3).training.batch_size % 3 == 0


@pytest.mark.parametrize(
    ("heads", "unit"),
    [
        ([], 8),
        (["model.n_heads=5"], 10),
        (["model.n_heads=null", "model.d_head=48"], 48),
        (["model.n_heads=null", "model.d_head=32", "model.n_kv_heads=3"], 96),
    ],
)
def test_a_plan_shows_what_would_be_chosen(heads: list[str], unit: int, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text(SENTENCE * 400)
    done = minigpt("config", AUTO, "data.source=mine.txt", "training.max_minutes=0.01", *heads, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    d_model = yaml.safe_load(done.stdout)["model"]["d_model"]
    assert f"model.d_model={d_model}" in done.stderr
    assert f"{400 * len(SENTENCE):,} characters" in done.stderr
    assert d_model % unit == 0


def test_what_does_not_go_with_a_choice_is_told(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text(SENTENCE * 400)
    done = minigpt("train", AUTO, "data.source=mine.txt", "model.d_head=7", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("error:")) == (2, 1)
    assert "d_head" in done.stderr


def test_a_batch_that_no_memory_can_hold_is_made_smaller(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text(SENTENCE * 400)
    monkeypatch.setattr(memory, "memory_of", lambda _: 5 * 10**6)
    monkeypatch.setattr(memory, "LOGITS_IN_CACHE", 2**10)
    changes = [f"data.source={tmp_path / 'mine.txt'}", "training.max_minutes=0.01"]
    small = choose(load_recipe(AUTO, changes)).training.batch_size
    monkeypatch.undo()
    assert 1 <= small < choose(load_recipe(AUTO, changes)).training.batch_size


def test_an_unknown_tokenizer_is_told_before_anything_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.txt").write_text(SENTENCE * 400)
    monkeypatch.setattr(budget, "survey", lambda _: pytest.fail("looked at the text"))
    done = minigpt("config", AUTO, "data.source=mine.txt", "tokenizer.kind=wrod", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("error:")) == (2, 1)
    assert "did you mean 'word'" in done.stderr


def test_without_minutes_nothing_can_be_chosen(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text(SENTENCE * 400)
    settings = ["data.source=mine.txt", "training.max_minutes=null", "training.max_steps=3"]
    done = minigpt("train", AUTO, *settings, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("error:")) == (2, 1)
    assert all(key in done.stderr for key in load_recipe(AUTO, settings).auto)
    assert "training.max_minutes" in done.stderr
