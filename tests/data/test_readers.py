"""Every format is read as what it is, packed or not; what is left out is told, and what is wrong with its place."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.config.hyperparameters import DataConfig
from minigpt.data import readers
from minigpt.data.readers import parted
from minigpt.data.sources import open_source
from minigpt.errors import UserError

TEXTS = ["one", 'two\n"2", ü', "three"]
PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "": bytes,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: bytes(pa.compress(content, "zstd", asbytes=True)),
}


def documents(source: Path | str, split: Any = "train", **settings: Any) -> list[str]:
    texts = [""]
    for piece in open_source(DataConfig(source=str(source), **settings)).pieces(split):
        texts[-1] += piece.text
        if piece.ends_document:
            texts.append("")
    return texts[:-1]


def table(delimiter: str) -> bytes:
    rows = [["n", "text"], *(["1", text] for text in TEXTS)]
    return "".join(f'{n}{delimiter}"{text.replace(chr(34), 2 * chr(34))}"\r\n' for n, text in rows).encode("utf-8-sig")


FORMATS = {
    ".jsonl": "\n".join(json.dumps({"text": text}) for text in TEXTS).encode(),
    ".ndjson": "\n\n".join(json.dumps({"text": text}) for text in TEXTS).encode("utf-8-sig"),
    ".json": json.dumps([{"text": text} for text in TEXTS], indent=1).encode(),
    ".JSON": "\n".join(json.dumps({"text": text}) for text in TEXTS).encode(),
    ".csv": table(","),
    ".tsv": table("\t"),
}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("ending", FORMATS)
def test_a_format_is_known_by_its_name_and_packing_by_content(ending: str, packing: str, tmp_path: Path) -> None:
    for name in (f"a{ending}{packing}", f"b{ending}"):
        path = tmp_path / name
        path.write_bytes(PACKINGS[packing](FORMATS[ending]))
        assert documents(path) == TEXTS


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_text_may_be_packed(packing: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.txt{packing}"
    path.write_bytes(PACKINGS[packing]("ü".encode() * 10**6))
    assert documents(path) == ["ü" * 10**6]


CHANGED = [".gz", ".bz2", ".xz"]  # zstd has no checksum that must be there


@pytest.mark.parametrize(
    ("packing", "damage"), [*((one, "changed") for one in CHANGED), *((one, "cut") for one in (*CHANGED, ".zst"))]
)
def test_a_damaged_package_is_named(packing: str, damage: str, tmp_path: Path) -> None:
    content = bytearray(PACKINGS[packing](b"".join(b"%d, " % number for number in range(10_000))))
    if damage == "changed":
        content[len(content) // 2] ^= 0xFF
    path = tmp_path / f"a.txt{packing}"
    path.write_bytes(content[: None if damage == "changed" else len(content) // 2])
    with pytest.raises(UserError, match=r"a\.txt\.\w+: (damaged .*; fetch or pack it again|not UTF-8)"):
        documents(path)


@pytest.mark.parametrize("packing", [one for one in PACKINGS if one])
def test_a_package_of_two_streams_is_read_whole_or_named(packing: str, tmp_path: Path) -> None:
    one = PACKINGS[packing](b"one text, and another. " * 99)
    path = tmp_path / f"a.txt{packing}"
    path.write_bytes(one + one)
    assert documents(path) == ["one text, and another. " * 198]
    path.write_bytes(one + bytes([one[0] ^ 1]) + one[1:])
    with pytest.raises(UserError, match=r"a\.txt\.\w+: damaged .*; fetch or pack it again"):
        documents(path)


def test_xz_may_end_in_zeros(tmp_path: Path) -> None:
    (tmp_path / "a.txt.xz").write_bytes(lzma.compress(b"a") + bytes(8) + lzma.compress(b"b") + bytes(4))
    assert documents(tmp_path / "a.txt.xz") == ["ab"]


def test_a_text_of_a_record_may_lie_deep_and_be_a_list(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"meta": {"text": "deep"}}\n{"meta": {"text": ["first", "second"]}}\n{"meta.text": "flat"}\n')
    assert documents(path, text_column="meta.text") == ["deep", "first\nsecond", "flat"]
    pyarrow.parquet.write_table(pa.table({"meta": [{"text": "deep"}, {"text": "deeper"}]}), tmp_path / "a.parquet")
    assert documents(tmp_path / "a.parquet", text_column="meta.text") == ["deep", "deeper"]


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv", "a.parquet"])
def test_records_without_text_are_refused_by_place_or_left_out_and_counted(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / name
    records = [{"text": "a"}, {"text": None}, {"text": "b"}]
    if name == "a.parquet":
        pyarrow.parquet.write_table(pa.Table.from_pylist(records), path)
    elif name == "a.csv":
        path.write_text("n,text\n1,a\n2\n3,b,\n")
    else:
        path.write_text(json.dumps(records) if name == "a.json" else "\n".join(map(json.dumps, records)))
    with pytest.raises(
        UserError, match=rf"{name}, (line|record|row) [23]: no text under 'text' but null.*skip_empty=true"
    ):
        documents(path)
    assert documents(path, skip_empty=True) == ["a", "b"]
    assert "1 records without text left out" in capsys.readouterr().err


BROKEN = {
    "a.docx": (b"PK\x03\x04...", "is a ZIP archive"),
    "a.txt": (b"%PDF-1.7", "is a PDF document; make a file of text"),
    "a.jsonl": (b'{"text": "a"}\n{"text": \n', "line 2: not JSON"),
    "a.json": (b'[{"text": "a"},', "as a whole: not JSON"),
    "a.csv": (b'text\n"a\n', "line 2: not a table"),
    "b.csv": (b"text\n\xff\n", "not UTF-8 at byte 5"),
    "c.csv": (b"id,text\n1,a\n2,b, c\n", "row 2: has more fields than columns; put its text in quotes"),
    "d.csv": (b"text,id,text\na,1,b\n", "has the column 'text' more than once; rename all but one"),
    "b.jsonl": (b'{"text": "a", "text": "b"}\n', "line 1: not JSON .*the key 'text' is given twice"),
    "b.json": (b"[1]", "record 1: no record with text under 'text' but a number"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_is_named_with_its_place(name: str, tmp_path: Path) -> None:
    content, told = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name}, .*{told}|{name}.*{told}"):
        documents(tmp_path / name)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_a_record_that_is_too_large_is_not_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers, "LARGEST", 100)
    (tmp_path / name).write_text(json.dumps([{"text": "a" * 100}]))
    with pytest.raises(UserError, match="more than 100 bytes; write smaller records, one a line"):
        documents(tmp_path / name)


def test_every_flipped_byte_of_a_parquet_file_is_text_or_told(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pyarrow.parquet.write_table(pa.table({"text": ["some text"] * 50}), path, write_page_checksum=True)
    content = path.read_bytes()
    for place in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            documents(path)
        except UserError as error:
            assert str(path) in str(error)  # noqa: PT017 - some bytes mean nothing


def test_a_folder_says_what_is_read_and_what_is_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.TXT", "b.md", "c.txt.gz", ".git/d.txt", "._a.txt", ".venv/e.txt", "f.pdf", "g.log"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress(b"c.txt.gz") if name == "c.txt.gz" else name.encode())
    assert documents(tmp_path) == ["a.TXT", "b.md", "c.txt.gz"]
    assert "3 read, 2 left out (f.pdf, g.log)" in capsys.readouterr().err


def test_links_to_folders_and_to_nothing_are_told_and_so_is_what_a_pattern_leaves_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("other/b.txt", "texts/a.txt", "texts/sub/c.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    (tmp_path / "texts" / "link").symlink_to(tmp_path / "other")
    (tmp_path / "texts" / "broken.txt").symlink_to(tmp_path / "nothing")
    assert len(documents(tmp_path / "texts")) == 2
    assert "2 read, 2 left out (broken.txt, link)" in capsys.readouterr().err
    assert documents(f"{tmp_path}/texts/*") == ["texts/a.txt"]
    assert "1 read, 3 left out (broken.txt, link, sub)" in capsys.readouterr().err
    assert len(documents(f"{tmp_path}/texts/**")) == 3
    assert "3 read, 1 left out (broken.txt)" in capsys.readouterr().err


def test_no_file_is_read_twice_whatever_links_lead_to_it(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.txt").write_text("a")
    (tmp_path / "deep" / "round").symlink_to(tmp_path)
    (tmp_path / "b.txt").symlink_to(tmp_path / "deep" / "a.txt")
    for source in (tmp_path, f"{tmp_path}/**/*.txt"):
        assert documents(source) == ["a"]


@pytest.mark.parametrize(("names", "is_split"), [
    (("train.txt", "val.txt"), True),
    (("train-00.jsonl.txt", "validation_2.txt"), True),
    (("training.txt", "DEV.txt"), True),
    (("trains.txt", "valley.txt"), False),
    (("trainer.txt", "validity.txt"), False),
])  # fmt: skip
def test_splits_are_whole_words_at_the_beginning_of_names(
    names: tuple[str, str], is_split: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in (*names, "other.txt"):
        (tmp_path / name).write_text(name)
    assert open_source(DataConfig(source=str(tmp_path))).has_validation == is_split
    assert ("1 left out (other.txt)" in capsys.readouterr().err) == is_split


def test_a_separator_parts_a_text_into_documents(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"one\n\nmore\n<|endoftext|>\ntwo<|endoftext|>\r\n\r\nthree\n")
    assert documents(path, document_separator="<|endoftext|>") == ["one\n\nmore", "two", "\r\nthree\n"]
    assert len(documents(path)) == 1


@given(st.lists(st.text("ab<>\n", max_size=12)), st.integers(1, 9))
def test_a_text_is_parted_alike_in_pieces_of_any_size(parts: list[str], size: int) -> None:
    text = "<>".join(parts)
    pieces = [text[start : start + size] for start in range(0, len(text), size)]
    assert ["".join(document) for document in parted(iter(pieces), "<>")] == [
        "".join(document) for document in parted(iter([text]), "<>")
    ]


def test_a_long_record_without_white_space_is_cut_in_time(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"text": "x" * 30_000_000}))
    pieces = list(open_source(DataConfig(source=str(path))).pieces())
    assert sum(len(piece.text) for piece in pieces) == 30_000_000
    assert len(pieces) == 28
