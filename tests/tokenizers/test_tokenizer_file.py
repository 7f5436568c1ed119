"""A tokenizer's file holds all of it, and nothing else passes for one."""

import base64
import json
import os
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.errors import UserError
from minigpt.storage.checksums import sealed
from minigpt.tokenizers import build_tokenizer, load_tokenizer

SAMPLE = "The cat sat on the mat. Naïve café, 東京 😀!\r\n" * 20


@pytest.mark.parametrize("kind", ["character", "byte", "bpe", "word"])
def test_a_loaded_tokenizer_is_the_saved_one(kind: str, tmp_path: Path) -> None:
    tokenizer = build_tokenizer(kind, 320, [SAMPLE])
    path = tmp_path / "tokenizer.json"
    tokenizer.save(path)
    loaded = load_tokenizer(path)
    assert type(loaded) is type(tokenizer)
    for name in ("kind", "vocab_size", "end_of_text", "token_bytes", "fingerprint"):
        assert getattr(loaded, name) == getattr(tokenizer, name)
    assert loaded.encode(SAMPLE).tolist() == tokenizer.encode(SAMPLE).tolist()


def test_the_file_says_what_it_is_in_ascii(tmp_path: Path) -> None:
    build_tokenizer("bpe", 280, [SAMPLE]).save(tmp_path / "tokenizer.json")
    document = json.loads((tmp_path / "tokenizer.json").read_text("ascii"))
    assert (document["format"], document["version"], document["kind"]) == ("minigpt-tokenizer", 2, "bpe")
    assert document["special_tokens"] == {"<|endoftext|>": 279}
    assert document["tokens"][97] == "YQ=="


def test_tokenizers_that_differ_have_different_fingerprints() -> None:
    tokenizers = [build_tokenizer(kind, size, [SAMPLE]) for kind in ("bpe", "word") for size in (260, 261)]
    assert len({tokenizer.fingerprint for tokenizer in tokenizers}) == 4


def test_who_reads_the_old_file_while_a_new_one_is_saved_reads_it_whole(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    build_tokenizer("byte", 0, []).save(path)
    with path.open() as reader:
        build_tokenizer("bpe", 300, [SAMPLE]).save(path)
        assert json.load(reader)["kind"] == "byte"
    assert load_tokenizer(path).kind == "bpe"


def test_a_save_that_fails_leaves_the_old_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "tokenizer.json"
    build_tokenizer("byte", 0, []).save(path)
    old = path.read_bytes()

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(
        UserError, match=r"tokenizer\.json: cannot be written \(No space left on device\); make room there"
    ):
        build_tokenizer("bpe", 300, [SAMPLE]).save(path)
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.json: No such file or directory; copy it again"):
        load_tokenizer(tmp_path / "absent.json")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b"[]", b"null", b'{"format": "other"}']
)
def test_a_file_that_is_no_tokenizer_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"tokenizer\.json: damaged"):
        load_tokenizer(path)


BASE64_BYTES = [*(base64.b64encode(bytes([byte])).decode() for byte in range(256)), ""]
END = {"<|endoftext|>": 256}
DAMAGE: list[tuple[str, dict[str, Any], str]] = [
    ("bpe", {"version": 1}, "version 1"),
    ("bpe", {"kind": None}, "'kind' must be str"),
    ("bpe", {"pattern": 7}, "'pattern' must be str"),
    ("bpe", {"pattern": "(\n"}, r"not to be used \(missing \)"),
    ("bpe", {"pattern": ""}, "pieces of nothing"),
    ("bpe", {"pattern": r"(?=x)|[\s\S]"}, "pieces of nothing"),
    ("bpe", {"pattern": r"[\s\S]|$"}, "pieces of nothing"),
    ("bpe", {"pattern": r"(?:(?:[\s\S]|[\s\S][\s\S])+)\1*\x00|[\s\S]"}, "not to be used"),
    ("bpe", {"pattern": r"\w+"}, "leaves characters of a text out"),
    ("bpe", {"tokens": {}}, "'tokens' must be list"),
    ("bpe", {"tokens": [1]}, "'tokens' must hold strings"),
    ("bpe", {"tokens": ["a"]}, "'tokens' must be base64"),
    ("bpe", {"tokens": ["é"]}, "'tokens' must be base64"),
    ("bpe", {"tokens": [*BASE64_BYTES, "YWI!="]}, "'tokens' must be base64"),
    ("bpe", {"tokens": [*BASE64_BYTES, "YQ=="]}, "b'a' is there twice"),
    ("bpe", {"tokens": [token for token in BASE64_BYTES if token != "YQ=="]}, "b'a' is not among"),
    ("bpe", {"special_tokens": []}, "'special_tokens' must be dict"),
    ("bpe", {"special_tokens": {}}, r"'<\|endoftext\|>' is missing"),
    ("bpe", {"special_tokens": {"<|endoftext|>": 3}}, "id 3, which is not free"),
    ("bpe", {"special_tokens": {"<|endoftext|>": 257}}, "id 257, which is not free"),
    ("bpe", {"special_tokens": {"<|endoftext|>": 256.0}}, r"id 256\.0, which is not free"),
    ("bpe", {"special_tokens": END | {"<|pad|>": -1}}, r"'<\|pad\|>' has the id -1"),
    ("unheard_of", {}, "'pattern' is missing"),
    ("character", {"alphabet": ["a"]}, "'alphabet' must be str"),
    ("character", {"alphabet": "ba"}, "in order of code points"),
    ("character", {"alphabet": "aa"}, "each character once"),
    ("character", {"alphabet": "\ud800"}, "surrogates not allowed"),
    ("word", {"words": " the"}, "'words' must be list"),
    ("word", {"words": [3]}, "'words' must hold strings"),
    ("word", {"words": [" the", " the"]}, "b' the' is there twice"),
    ("word", {"words": ["a"]}, "b'a' is there twice"),
    ("word", {"words": ["\ud800"]}, "surrogates not allowed"),
    ("word", {}, "'words' is missing"),
]


@pytest.mark.parametrize(("kind", "changes", "told"), DAMAGE)
def test_a_damaged_file_is_refused_in_one_line_that_says_where_and_what(
    kind: str, changes: dict[str, Any], told: str, tmp_path: Path
) -> None:
    document: dict[str, Any] = {"format": "minigpt-tokenizer", "version": 2, "kind": kind}
    if kind in ("bpe", "unheard_of"):
        document |= {"tokens": BASE64_BYTES, "special_tokens": END}
    if kind == "bpe":
        document["pattern"] = r"\s+|\S+"
    path = tmp_path / "tokenizer.json"
    path.write_bytes(sealed(document | changes))
    with pytest.raises(UserError, match=rf"tokenizer\.json: .*{told}") as error:
        load_tokenizer(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("pattern", "text", "told"),
    [
        (r"[^ก]", "aก", "leaves characters of this text out"),
        (r"(?:(x|xx)+)\1z|[\s\S]", "x" * 40, "gives up on this text"),
    ],
)
def test_a_pattern_that_does_not_take_a_text_is_told(pattern: str, text: str, told: str, tmp_path: Path) -> None:
    document = {
        "format": "minigpt-tokenizer",
        "version": 2,
        "kind": "bpe",
        "tokens": BASE64_BYTES,
        "special_tokens": END,
    }
    path = tmp_path / "tokenizer.json"
    path.write_bytes(sealed(document | {"pattern": pattern}))
    with pytest.raises(UserError, match=told):
        load_tokenizer(path).encode(text)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_byte_is_told(place: int, change: int) -> None:
    content = bytearray(build_tokenizer("word", 300, ["the cat the cat"]).to_json())
    content[place % len(content)] ^= change
    with TemporaryDirectory() as folder:
        path = Path(folder, "tokenizer.json")
        path.write_bytes(content)
        with suppress(UserError):  # white space may change
            assert load_tokenizer(path).to_json() == build_tokenizer("word", 300, ["the cat the cat"]).to_json()
