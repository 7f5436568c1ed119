"""What an error over a text advises is done to the letter, and gets the person on: to what is wrong after it."""

import bz2
import gzip
import json
import os
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from remedies import LONG, TRAIN, Case, Remedy, Words, follow, found, instead, nothing, text, then, without

CHANGES: Words = ["run.name=own", "tokenizer.kind=byte", "data.validation_fraction=0.3", "model.vocab_size=9"]
OWN: Words = [*TRAIN, *CHANGES]
PAST = r"model.vocab_size = 9: the tokenizer has 257|127.0.0.1:9/text.txt: cannot be fetched"
"""Errors that come when there is a text, but before a training."""
RECORD = json.dumps({"text": LONG}).encode()


def source(name: str, *changes: str) -> Words:
    """A training on a text of that name."""
    return [*OWN, f"data.source={name}", *changes]


def file(name: str, content: bytes) -> Callable[[Path], object]:
    """Write a file, in folders."""

    def write(place: Path) -> None:
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_bytes(content)

    return write


def files(*writes: Callable[[Path], object]) -> Callable[[Path], object]:
    """Write all of them."""
    return lambda place: [write(place) for write in writes]


def mend(advice: str, name: str, content: bytes) -> Remedy:
    """The same command, when another content is in a file, as advised."""
    return then(advice, lambda *_: Path(name).write_bytes(content))


def by_lines(advice: str, name: str, right: bytes) -> Remedy:
    """The same command, when the line whose number is in the advice is right."""

    def act(number: str) -> None:
        lines = Path(name).read_bytes().split(b"\n")
        lines[int(number) - 1] = right
        Path(name).write_bytes(b"\n".join(lines))

    return then(advice, act)


def parquet(column: str, name: str = "text.parquet") -> Callable[[Path], object]:
    """Write a text as Parquet, packed where its name says so."""

    def write(place: Path) -> None:
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.table({column: [LONG]}), place / "text.parquet")
        if name.endswith(".gz"):
            (place / name).write_bytes(gzip.compress((place / "text.parquet").read_bytes()))
            (place / "text.parquet").unlink()

    return write


def zipped(place: Path) -> None:
    with zipfile.ZipFile(place / "text.docx", "w") as archive:
        archive.writestr("text.txt", LONG)


CASES: dict[str, Case] = {
    "no such home": (
        text(LONG),
        source("~no-such-user/text.txt"),
        instead("give the path (without) ~", "data.source=text.txt"),
    ),
    "a pattern of nothing": (text(LONG), source("*.md"), instead("(correct) the pattern", "data.source=*.txt")),
    "a pipe": (
        lambda place: (os.mkfifo(place / "pipe"), text(LONG)(place)),
        source("pipe"),
        instead("copy what comes out of it into a (file)", "data.source=text.txt"),
    ),
    "nothing of the sort": (
        text(LONG),
        source("q"),
        instead("; give stories, python, a (file)", "data.source=text.txt"),
    ),
    "a misspelt path": (
        text(LONG),
        source(f"{os.sep}no{os.sep}txt.txt"),
        instead("; give stories, python, a (file)", "data.source=text.txt"),
    ),
    "a folder of nothing": (
        lambda place: (place / "texts").mkdir(),
        source("texts"),
        then("put one in", lambda: Path("texts/text.txt").write_text(LONG)),
    ),
    "a folder of other files": (
        file("texts/letter", LONG.encode()),
        source("texts"),
        instead("by a pattern such as '([^']+)'", "data.source={}"),
    ),
    "a document": (
        zipped,
        source("text.docx"),
        lambda command, error: [
            [
                *command[:-1],
                "data.source="
                + zipfile.ZipFile(found("error: (.*): is a ZIP.*; make a file", error)).extract("text.txt"),
            ]
        ],
    ),
    "packed, and cut": (
        file("text.txt.gz", gzip.compress(LONG.encode())[:20]),
        source("text.txt.gz"),
        mend("fetch or pack it again", "text.txt.gz", gzip.compress(LONG.encode())),
    ),
    "packed, and damaged": (
        file("text.txt.bz2", b"BZh9" + bytes(99)),
        source("text.txt.bz2"),
        mend("fetch or pack it again", "text.txt.bz2", bz2.compress(LONG.encode())),
    ),
    "not UTF-8": (
        file("text.txt", LONG.encode("utf-16")),
        source("text.txt"),
        mend("convert the file to UTF-8", "text.txt", LONG.encode()),
    ),
    "not JSON": (
        file("text.jsonl", RECORD + b"\n{\n" + RECORD),
        source("text.jsonl"),
        by_lines(r"text.jsonl, line (2): not JSON .*; mend it there$", "text.jsonl", RECORD),
    ),
    "not JSON as a whole": (
        file("text.json", b"[" + RECORD),
        source("text.json"),
        mend(r"text.json, as a whole: not JSON .*; mend it there$", "text.json", b"[" + RECORD + b"]"),
    ),
    "half a character": (
        file("text.jsonl", RECORD + b'\n{"text": "\\ud800"}'),
        source("text.jsonl"),
        by_lines(r"line (\d): half .*; mend that record", "text.jsonl", RECORD),
    ),
    "no objects": (
        file("text.jsonl", b"17"),
        source("text.jsonl"),
        mend("but a number; write objects, as JSON Lines has them", "text.jsonl", RECORD),
    ),
    "a table in another column": (
        file("text.csv", b"n,body\n1," + LONG.encode()),
        source("text.csv"),
        instead(r"no column 'text' but n, (\w+); set data.text_column to that", "data.text_column={}"),
    ),
    "a table not in UTF-8": (
        file("text.csv", b"text\n" + b"a\n" * 9999 + b"\xff"),
        source("text.csv"),
        then(
            "not UTF-8 at byte (20003); convert",
            lambda place: Path("text.csv").write_bytes(Path("text.csv").read_bytes()[: int(place)]),
        ),
    ),
    "a table with a quote": (
        file("text.csv", b'text\n"a\n' + LONG.encode()),
        source("text.csv"),
        then("mend its quotes", lambda: Path("text.csv").write_text(f"text\na\n{LONG}")),
    ),
    "Parquet in another column": (
        parquet("body"),
        source("text.parquet"),
        instead(r"no column 'text' but (\w+); set data.text_column to that", "data.text_column={}"),
    ),
    "Parquet that is packed": (
        parquet("text", "text.parquet.gz"),
        source("text.parquet.gz"),
        lambda command, error: [
            Path("text.parquet").write_bytes(
                gzip.decompress(Path(found(r"error: (\S+): .*unpack it$", error)).read_bytes())
            )
            and [*command[:-1], "data.source=text.parquet"]
        ],
    ),
    "no text": (
        text(""),
        source("text.txt"),
        mend("its train part holds no text; give one that does", "text.txt", RECORD),
    ),
    "no text to validate on": (
        files(file("texts/train.txt", RECORD), file("texts/validation.txt", b"a")),
        source("texts"),
        mend("its validation part has 1 .*; give a longer one", "texts/validation.txt", RECORD),
    ),
    "an address that anyone can change": (
        nothing,
        source("http://127.0.0.1:9/text.txt"),
        instead("use an (https:) address", "data.source={}//127.0.0.1:9/text.txt"),
    ),
    "an address that cannot be fetched": (
        text(LONG),
        source("https://localhost:9/text.txt"),
        instead("a copy on this machine with (data.source)=PATH", "{}=text.txt"),
    ),
    "data in the place of a file": (
        text(LONG),
        source("text.txt", "data.directory=text.txt"),
        instead("choose another (data.directory)", "{}=elsewhere"),
    ),
    "a run in the place of a file": (
        text(LONG),
        source("text.txt", "run.directory=text.txt"),
        instead("choose another (run.directory)", "{}=elsewhere"),
    ),
    "a run in a folder of other things": (
        files(text(LONG), lambda place: shutil.copytree(place / "data", place / "runs/own")),
        source("text.txt"),
        instead(r"choose another (run.name) or", "{}=elsewhere"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_remedy_works(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "data" / "somebody's").touch()
    monkeypatch.chdir(tmp_path)
    follow(CASES[name], tmp_path, PAST)


def test_what_comes_after_a_text_is_there_has_a_remedy_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    follow((text(LONG), source("text.txt"), without("model.vocab_size=9", advice="; leave it out$")), tmp_path)
