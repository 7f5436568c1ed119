import json
from pathlib import Path

import pytest
from conftest import minigpt

from minigpt.tokenizers import build_tokenizer
from minigpt.tokenizers.compare import tokenize, visible

TEXT = "low lower"


def test_a_token_is_shown_with_its_bytes_and_the_merges_that_made_it() -> None:
    tokenizer = build_tokenizer("bpe", 260, ["low lower lowest " * 50])
    low = tokenize("low", "a run", tokenizer).tokens[0]
    assert low.piece == b"low"
    first, second = low.merges
    assert b"".join(first) in second
    assert b"".join(second) == b"low"


def test_the_merges_of_a_public_encoding_end_in_its_tokens() -> None:
    tokenizer = build_tokenizer("bpe", 1000, ["It was the best of times, it was the worst of times. " * 9])
    for token, piece in enumerate(tokenizer.token_bytes[256:-1], start=256):
        assert b"".join(tokenizer.merges(token)[-1]) == piece


@pytest.mark.parametrize(
    ("piece", "shown"),
    [
        (b" a", "·a"),
        (b"\n\t", "↵→"),
        ("\u200b\u00a0\x00".encode(), r"\u200b\xa0\x00"),
        ("é".encode()[:1], r"\xc3"),
        ("日本".encode(), "日本"),
        (b"\x1b[31m", r"\x1b[31m"),
    ],
)
def test_white_space_invisible_characters_and_single_bytes_are_shown(piece: bytes, shown: str) -> None:
    assert visible(piece) == shown


def test_the_same_sentence_side_by_side(run: Path, workplace: Path) -> None:
    done = minigpt("tokenize", TEXT, "--tokenizer", run, "--tokenizer", "byte", "--json", cwd=workplace)
    own, byte = json.loads(done.stdout)["tokenizers"]
    assert own["name"] == str(run)
    assert (byte["n_tokens"], byte["n_bytes"], byte["bytes_per_token"]) == (9, 9, 1.0)
    assert [token["id"] for token in byte["tokens"]] == list(TEXT.encode())
    assert "".join(token["piece"] for token in own["tokens"]) == "low·lower"


def test_in_words_pieces_are_told_apart_and_counted(workplace: Path) -> None:
    done = minigpt("tokenize", "hi a", "--tokenizer", "character", cwd=workplace)
    assert done.stdout.splitlines() == [
        "character: character, 5 tokens",
        "  h|i|·|a",
        "  ids 2 3 0 1",
        "  4 tokens for 4 bytes: 1.00 bytes per token",
    ]


def test_without_a_name_the_newest_run_is_taken_beside_characters_and_bytes(run: Path, workplace: Path) -> None:
    done = minigpt("tokenize", TEXT, "--json", cwd=workplace)
    names = [one["name"] for one in json.loads(done.stdout)["tokenizers"]]
    assert names == [str(run.relative_to(workplace)), "character", "byte"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("bpe", "learned from a corpus"), ("bytes", "did you mean 'byte'"), (".", "neither a run's folder")],
)
def test_a_tokenizer_that_is_not_there_is_told(name: str, words: str, workplace: Path) -> None:
    done = minigpt("tokenize", TEXT, "--tokenizer", name, cwd=workplace)
    assert done.returncode == 2
    assert words in done.stderr
