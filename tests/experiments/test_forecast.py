"""What training will come to, told beforehand."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import RECIPE, minigpt

from minigpt.config.hyperparameters import DataConfig
from minigpt.config.recipe import load_recipe
from minigpt.data.sources import Piece, Source, open_source
from minigpt.errors import UserError
from minigpt.experiments import forecast
from minigpt.experiments.forecast import first, last, parts

AUTO = RECIPE.with_name("auto.yaml")


def pieces(*texts: str) -> Iterator[Piece]:
    return (Piece(text, ends_document=True) for text in texts)


@pytest.mark.parametrize(
    ("n", "beginning", "end"),
    [
        (1, ["a"], ["e"]),
        (3, ["abc"], ["cde"]),
        (4, ["abc", "."], [".", "cde"]),
        (5, ["abc", ".", "c"], ["abc", ".", "cde"]),
        (100, ["abc", ".", "cde"], ["abc", ".", "cde"]),
    ],
)
def test_so_many_characters_are_taken_at_both_ends(n: int, beginning: list[str], end: list[str]) -> None:
    assert [piece.text for piece in first(pieces("abc", ".", "cde"), n)] == beginning
    assert [piece.text for piece in last(pieces("abc", ".", "cde"), n)] == end


def test_a_long_text_is_judged_by_its_end_and_a_validation_part_by_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecast, "LEARNED", 10)
    monkeypatch.setattr(forecast, "JUDGED", 4)
    (tmp_path / "long.txt").write_text("a" * 15)
    (tmp_path / "more.txt").write_text("b" * 30)
    learned, judged = parts(open_source(DataConfig(source=f"{tmp_path}/*.txt")))
    assert ["".join(piece.text for piece in part) for part in (learned, judged)] == ["a" * 10, "b" * 4]
    (tmp_path / "long.txt").rename(tmp_path / "train.txt")
    (tmp_path / "more.txt").write_text("cdefghi")
    (tmp_path / "more.txt").rename(tmp_path / "validation.txt")
    learned, judged = parts(open_source(DataConfig(source=str(tmp_path))))
    assert ["".join(piece.text for piece in part) for part in (learned, judged)] == ["a" * 10, "cdef"]
    monkeypatch.undo()  # a short text is parted as in training
    assert parts(source_of(tmp_path, "to be or not to be " * 100))[1] == []


def source_of(folder: Path, text: str) -> Source:
    (folder / "a.txt").write_text(text)
    return open_source(DataConfig(source=str(folder / "a.txt")))


def test_what_is_easy_is_told_from_what_is_hard_and_more_training_from_less(tmp_path: Path) -> None:
    config = load_recipe(
        AUTO, ["tokenizer.kind=byte", "model.n_layers=1", "model.d_model=32", "run.device=cpu", "run.precision=float32"]
    )
    easy, hard = "to be or not to be, " * 400, "".join(chr(97 + i * i * 7919 % 1009 % 26) for i in range(8000))
    expected = {
        (name, operations): forecast.forecast(config, source_of(tmp_path, text), operations)
        for name, text in (("easy", easy), ("hard", hard))
        for operations in (1e10, 1e12)
    }
    for less, more in ((("easy", 1e12), ("easy", 1e10)), (("hard", 1e12), ("hard", 1e10))):
        assert 0 < (expected[less] or 0) < (expected[more] or 0)
    assert (expected["easy", 1e10] or 9) < 0.8 * (expected["hard", 1e10] or 0)


@pytest.mark.parametrize("text", ["to be or not to be " * 10, "ab" * 499])
def test_nothing_is_told_of_a_text_that_is_too_short(tmp_path: Path, text: str) -> None:
    config = load_recipe(AUTO, ["tokenizer.kind=byte", "run.device=cpu"])
    assert forecast.forecast(config, source_of(tmp_path, text), 1e12) is None


def test_a_short_rest_of_a_text_belongs_to_its_beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forecast, "LEARNED", 10)
    monkeypatch.setattr(forecast, "JUDGED", 4)
    for name, text in (("a", "a" * 10), ("b", "bcd")):
        (tmp_path / f"{name}.txt").write_text(text)
    learned, judged = parts(open_source(DataConfig(source=str(tmp_path))))
    assert ("".join(piece.text for piece in learned), judged) == ("a" * 10 + "bcd", [])


def test_a_tokenizer_that_cannot_be_had_yet_tells_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object) -> None:
        raise UserError("could not fetch it")

    monkeypatch.setattr(forecast, "build_tokenizer", offline)
    config = load_recipe(AUTO, ["tokenizer.kind=gpt2", "run.device=cpu"])
    assert forecast.forecast(config, source_of(tmp_path, "to be " * 2000), 1e12) is None


def test_a_short_text_teaches_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def told(n_tokens: float, operations: float) -> float:
        monkeypatch.setattr(forecast, "trial", lambda *_: (2.0, n_tokens))
        config = load_recipe(AUTO, ["run.device=cpu", "tokenizer.kind=character"])
        return forecast.forecast(config, source_of(tmp_path, "to be"), operations)

    assert told(1e5, 1.2e13) / told(math.inf, 1.2e13) == pytest.approx((1 + 200 / 20) ** 0.07)
    assert told(1e6, 1.2e13) < 1.01 * told(math.inf, 1.2e13)


@pytest.mark.parametrize(
    ("kind", "n_tokens", "more", "share"),
    [
        ("character", math.inf, 0, 1),
        ("character", math.inf, 5, 0.704),
        ("bpe", math.inf, 5, 0.592),
        ("bpe", 1e9, 5, 0.704),
    ],
)
def test_losses_fall_as_was_measured(
    kind: str, n_tokens: float, more: float, share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the tables in docs/experiments.md, 'A forecast': 3e13 operations are exp(5) times those of the small model."""
    monkeypatch.setattr(forecast, "trial", lambda *_: (2.0, n_tokens))
    config = load_recipe(AUTO, ["run.device=cpu", f"tokenizer.kind={kind}"])
    told = forecast.forecast(config, source_of(tmp_path, "to be"), forecast.OPERATIONS * math.exp(more))
    assert told == pytest.approx(2 * share, rel=1e-3)


def test_the_plan_of_an_open_recipe_tells_the_loss(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("To be, or not to be, that is the question.\n" * 400)
    settings = ["data.source=mine.txt", "training.max_minutes=0.01", "--json"]
    done = minigpt("config", AUTO, *settings, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert 0 < document["plan"]["bits_per_byte"] < 3
    open_keys = [key.split(".") for key in load_recipe(AUTO).auto]
    values = [(section, name, document["config"][section][name]) for section, name in open_keys]
    closed = [f"{section}.{name}={'null' if value is None else value}" for section, name, value in values]
    done = minigpt("config", AUTO, *settings, *closed, cwd=tmp_path)
    assert json.loads(done.stdout)["plan"]["bits_per_byte"] is None
