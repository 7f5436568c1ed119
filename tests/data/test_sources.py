import hashlib
import json
import os
import urllib.error
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet
import pytest

from minigpt.config.hyperparameters import DataConfig
from minigpt.data import sources
from minigpt.data.download import download
from minigpt.data.sources import Piece, cut, open_source
from minigpt.errors import UserError

DOCUMENTS = ["first document é", "second\r\ndocument", "third 😀"]


def documents(source: str, split: Any = "train", **settings: Any) -> list[str]:
    texts = [""]
    for piece in open_source(DataConfig(source=source, **settings)).pieces(split):
        texts[-1] += piece.text
        if piece.ends_document:
            texts.append("")
    assert texts.pop() == ""
    return texts


def write(folder: Path, kind: str, stem: str = "a", texts: list[str] = DOCUMENTS, column: str = "text") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{stem}.{kind}"
    if kind == "jsonl":
        path.write_text("\n".join(json.dumps({column: text, "n": 1}) for text in texts) + "\n\n")
    elif kind == "parquet":
        pyarrow.parquet.write_table(pa.table({column: texts, "n": [1] * len(texts)}), path, row_group_size=2)
    else:
        path.write_bytes("".join(texts).encode())
    return path


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_records_are_documents(kind: str, tmp_path: Path) -> None:
    assert documents(str(write(tmp_path, kind))) == DOCUMENTS
    assert documents(str(write(tmp_path, kind, column="body")), text_column="body") == DOCUMENTS


def test_a_text_file_is_one_document_byte_for_byte_without_its_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_bytes(b"\xef\xbb\xbf" + "ü\r\n\n x".encode())
    assert documents(str(path)) == ["ü\r\n\n x"]


def test_a_folder_holds_its_files_in_order_and_a_glob_those_it_names(tmp_path: Path) -> None:
    write(tmp_path / "deep", "txt", "b", ["b"])
    write(tmp_path, "jsonl", "a", ["a1", "a2"])
    (tmp_path / "ignored.png").write_bytes(b"\xff")
    assert documents(str(tmp_path)) == ["a1", "a2", "b"]
    assert documents(f"{tmp_path}/**/*.txt") == ["b"]


def test_files_called_train_and_validation_are_the_splits(tmp_path: Path) -> None:
    write(tmp_path, "txt", "train-0", ["t"])
    write(tmp_path, "txt", "validation", ["v"])
    assert open_source(DataConfig(source=str(tmp_path))).has_validation
    assert (documents(str(tmp_path)), documents(str(tmp_path), "validation")) == (["t"], ["v"])


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_hub_data_set_is_streamed_with_its_splits(kind: str, tmp_path: Path) -> None:
    write(tmp_path, kind, "train")
    write(tmp_path, kind, "validation", ["v"])
    name = f"hf:{tmp_path}"
    assert documents(name) == DOCUMENTS
    assert documents(name, "validation") == ["v"]
    with pytest.raises(UserError, match=r"row 1 of train: no text under 'body' but an object with text, n; set"):
        documents(name, text_column="body")


def test_a_new_commit_of_a_hub_data_set_is_another_text(monkeypatch: pytest.MonkeyPatch) -> None:
    def fingerprint(commit: str) -> str:
        data_set = SimpleNamespace(hash=commit, as_streaming_dataset=lambda: {"train": [{"text": "a"}]})
        monkeypatch.setattr("datasets.load_dataset_builder", lambda *_: data_set)
        return open_source(DataConfig(source="hf:owner/texts")).fingerprint

    assert fingerprint("1a2b") == fingerprint("1a2b") != fingerprint("3c4d")


def test_a_folder_as_a_hub_data_set_is_another_text_once_a_file_is_written_anew(tmp_path: Path) -> None:
    os.utime(write(tmp_path, "jsonl", "train"), (1, 1))
    config = DataConfig(source=f"hf:{tmp_path}")
    before = open_source(config)
    write(tmp_path, "jsonl", "train", DOCUMENTS[::-1])
    assert not before.is_same()
    assert open_source(config).fingerprint != before.fingerprint


def test_a_hub_data_set_that_cannot_be_had_is_a_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"hf:.*nowhere.*cannot be opened"):
        documents(f"hf:{tmp_path}/nowhere")


def test_only_so_many_documents_are_taken(tmp_path: Path) -> None:
    path = str(write(tmp_path, "jsonl"))
    assert documents(path, max_documents=2) == DOCUMENTS[:2]
    prints = {open_source(DataConfig(source=path, max_documents=n)).fingerprint for n in (None, 1, 2)}
    assert len(prints) == 3


def test_the_python_source_holds_the_standard_library(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = documents("python", max_documents=300)
    assert any("class ABCMeta" in text for text in texts)


def test_the_fingerprint_changes_with_the_text_and_its_reading_and_not_with_its_place(tmp_path: Path) -> None:
    first, moved, other = (write(tmp_path / name, "txt", "a", [text]) for name, text in zip("xyz", "aab", strict=True))
    prints = [open_source(DataConfig(source=str(path))).fingerprint for path in (first, moved, other)]
    assert prints[0] == prints[1] != prints[2]
    separators = (None, "a", "b")
    assert len({open_source(DataConfig(source=str(first), document_separator=s)).fingerprint for s in separators}) == 3


@pytest.mark.parametrize("bad", [b"\xff", b"\xe6"])  # no character, and the beginning of one
@pytest.mark.parametrize("bad_place", [0, 5, sources.PIECE - 1, sources.PIECE + 7])
def test_a_byte_that_is_not_utf8_is_named_with_its_place(bad_place: int, bad: bytes, tmp_path: Path) -> None:
    path = tmp_path / "bad.txt"
    path.write_bytes(b"a" * bad_place + bad + b"b" * 10)
    with pytest.raises(UserError, match=f"{path}: not UTF-8 at byte {bad_place};"):
        documents(str(path))


BAD_LINES = {
    '{"text": 1}': "no text under 'text'",
    '{"body": "x"}': "body",
    "[1]": "but an array",
    '{"text": null}': "but null",
    '{"text": "\\ud800"}': "half a surrogate",
    "{": "not JSON",
}


@pytest.mark.parametrize(("line", "reason"), BAD_LINES.items())
def test_a_bad_line_is_named_with_its_number(line: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"text": "good"}\n' + line + "\n")
    with pytest.raises(UserError, match=rf"bad.jsonl, line 2: .*{reason}"):
        documents(str(path))


def test_parquet_without_the_column_or_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no column 'body' but text, n"):
        documents(str(write(tmp_path, "parquet")), text_column="body")
    (tmp_path / "bad.parquet").write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"bad.parquet: not a whole Parquet file"):
        documents(str(tmp_path / "bad.parquet"))


def test_a_source_that_is_not_there_is_named_with_the_nearest(tmp_path: Path) -> None:
    write(tmp_path, "txt", "hamlet")
    with pytest.raises(UserError, match=r"hamlt.txt: there is no such file; did you mean '.*hamlet.txt'"):
        documents(str(tmp_path / "hamlt.txt"))
    with pytest.raises(UserError, match=r"did you mean 'stories'"):
        documents("storys")


def test_a_source_without_text_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("")
    with pytest.raises(UserError, match="holds no text"):
        documents(str(tmp_path / "empty.txt"))
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match=r"has no \.txt"):
        documents(str(tmp_path / "folder"))


def test_a_large_document_is_cut_before_white_space_and_whole_again_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "PIECE", 10)
    text = "one two  three\n four five sixseveneightnineteneleven twelve" * 3
    pieces = list(cut([text[:7], text[7:50], text[50:]]))
    assert "".join(piece.text for piece in pieces) == text
    assert len(pieces) > 3
    assert [piece.ends_document for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    for before, after in pairwise(pieces):
        assert (after.text[0].isspace() and not before.text[-1].isspace()) or len(before.text) == 10


class Answer(BytesIO):
    headers: ClassVar = {"Content-Length": "5"}

    def __init__(self, content: bytes, address: str = "https://x/y") -> None:
        super().__init__(content)
        self.address = address

    def geturl(self) -> str:
        return self.address


def test_an_address_is_fetched_once_and_its_checksum_is_checked(tmp_path: Path) -> None:
    calls = []

    def opener(address: str, timeout: float) -> Answer:
        calls.append(address)
        return Answer(b"hello")

    good = hashlib.sha256(b"hello").hexdigest()
    for _ in range(2):
        assert download("https://x/y", good, tmp_path, opener).read_text() == "hello"
    assert len(calls) == 1
    for address, remedy in (("https://x/y", "or delete .* to fetch the text again"), ("https://x/z", "or look for")):
        with pytest.raises(UserError, match=f"SHA-256 is {good}.*{remedy}"):
            download(address, "0" * 64, tmp_path, opener)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".manifest", ".txt"]


def test_half_an_answer_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"4 of 5 bytes came\); connect .* and run the command again"):
        download("https://x/y", None, tmp_path, lambda *_, **__: Answer(b"hell"))
    assert list(tmp_path.iterdir()) == []
    assert download("https://x/y", None, tmp_path, lambda *_, **__: Answer(b"hello")).read_text() == "hello"


@pytest.mark.parametrize("name", ["text", "manifest"])
@pytest.mark.parametrize("content", [b"", b"hellp", b"{}"])
def test_a_text_that_was_damaged_after_it_came_is_fetched_anew(name: str, content: bytes, tmp_path: Path) -> None:
    path = download("https://x/y", None, tmp_path, lambda *_, **__: Answer(b"hello"))
    (path if name == "text" else path.with_name(f"{path.name}.manifest")).write_bytes(content)
    assert download("https://x/y", None, tmp_path, lambda *_, **__: Answer(b"hello")).read_text() == "hello"


ENDINGS = {"https://x/a.jsonl?download=1": ".jsonl", "https://x/a.PARQUET": ".parquet", "https://x/a.php": ".txt"}


@pytest.mark.parametrize(("address", "ending"), ENDINGS.items())
def test_a_text_keeps_the_ending_that_tells_its_format(address: str, ending: str, tmp_path: Path) -> None:
    assert download(address, None, tmp_path, lambda *_, **__: Answer(b"hello")).suffix == ending


def test_an_address_without_network_is_a_clear_error(tmp_path: Path) -> None:
    def opener(address: str, timeout: float) -> Answer:
        raise urllib.error.URLError("no route")

    with pytest.raises(UserError, match=r"https://x/y: cannot be fetched \(no route\).*data.source=PATH"):
        download("https://x/y", None, tmp_path, opener)
    with pytest.raises(UserError, match=r"https://x/y: cannot be fetched \(it leads to http://x/z"):
        download("https://x/y", None, tmp_path, lambda *_, **__: Answer(b"hello", "http://x/z"))
    with pytest.raises(UserError, match="use an https: address"):
        open_source(DataConfig(source="http://x/y"))
    assert Piece("a", True).ends_document
