import base64
import hashlib
import json
import os
from pathlib import Path
from typing import Any, NoReturn

import pytest
import requests
import tiktoken
from conftest import minigpt
from tiktoken.load import load_tiktoken_bpe

from minigpt.tokenizers import find
from stories_tokenizer import learn

TEXT = "low lower"


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def get(address: str) -> NoReturn:
        raise AssertionError(f"{address} was asked for")

    monkeypatch.setattr(requests, "get", get)


def test_the_tokenizer_of_the_stories_is_what_its_script_learns() -> None:
    """If this fails, what learns has changed: `python scripts/stories_tokenizer.py`, and all its ids are others."""
    assert learn().to_json() == find.STORIES.read_bytes()


def test_without_a_name_the_newest_run_is_taken_beside_what_is_at_hand(
    run: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find, "PUBLIC", ())
    done = minigpt("tokenize", TEXT, "--json", cwd=workplace)
    newest, *others = [one["name"] for one in json.loads(done.stdout)["tokenizers"]]
    assert (Path(newest).parent, others) == (run.parent.relative_to(workplace), ["stories", "character", "byte"])


def test_of_several_runs_the_newest_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(find, "PUBLIC", ())
    for time, name in enumerate("cab"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tokenizer.json").touch()
        os.utime(tmp_path / name / "tokenizer.json", (time, time))
    assert find.usual_names(tmp_path) == [str(tmp_path / "b"), "stories", "character", "byte"]


def test_encodings_that_tiktoken_has_cached_are_shown_and_others_not_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def encoding(name: str) -> dict[str, Any]:
        ranks = load_tiktoken_bpe(f"https://nowhere.example/{name}.tiktoken")
        return {"name": name, "pat_str": r"[\s\S]", "mergeable_ranks": ranks, "special_tokens": {}}

    names = ("there", "away")
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    monkeypatch.setattr(
        tiktoken.registry, "ENCODING_CONSTRUCTORS", {name: lambda name=name: encoding(name) for name in names}
    )
    monkeypatch.setattr(find, "PUBLIC", names)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    file = hashlib.sha1(b"https://nowhere.example/there.tiktoken").hexdigest()
    lines = (base64.b64encode(bytes([byte])) + b" %d\n" % byte for byte in range(256))
    (tmp_path / file).write_bytes(b"".join(lines))
    assert find.usual_names(tmp_path) == ["stories", "there", "character", "byte"]
    assert find.find_tokenizer("there")(TEXT).encode("a").tolist() == [97]


@pytest.mark.parametrize(
    ("name", "words"),
    [("bpe", "learned from a corpus"), ("bytes", "did you mean 'byte'"), (".", "neither a run's folder")],
)
def test_a_tokenizer_that_is_not_there_is_told(name: str, words: str, workplace: Path) -> None:
    done = minigpt("tokenize", TEXT, "--tokenizer", name, cwd=workplace)
    assert done.returncode == 2
    assert words in done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "TEXT: is missing"),
        (["--serve", "--json"], "leave out --output and --json"),
        (["a" * 1_000_001, "--output", "page.html"], "a page shows 1,000,000"),
    ],
)
def test_what_cannot_be_shown_is_told(arguments: list[str], words: str, tmp_path: Path) -> None:
    done = minigpt("tokenize", *arguments, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert words in done.stderr
