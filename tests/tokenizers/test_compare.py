import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import tokenizers
from conftest import minigpt

from minigpt.cli import tokenize as command
from minigpt.errors import UserError
from minigpt.tokenizers import build_tokenizer
from minigpt.tokenizers.bpe import GPT2_PATTERN, BytePairTokenizer, byte_letters
from minigpt.tokenizers.compare import side_by_side, tokenize, visible
from minigpt.tokenizers.huggingface import HuggingFaceTokenizer

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


@pytest.mark.parametrize("kind", ["character", "byte", "bpe", "word"])
def test_each_token_knows_which_bytes_of_the_text_it_covers(kind: str) -> None:
    text = "low lower café 東京 😀"
    cut = tokenize(text, kind, build_tokenizer(kind, 300, [text * 9]))
    assert [token.piece for token in cut.tokens] == [cut.content[start:end] for start, end in cut.spans]
    assert cut.spans[-1][1] == len(text.encode())


def test_a_token_of_a_text_that_was_normalised_covers_what_it_was_made_from() -> None:
    vocabulary = byte_letters() | {"</s>": 256}
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    theirs.normalizer = tokenizers.normalizers.NFC()
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.decoder = tokenizers.decoders.ByteLevel()
    theirs.add_special_tokens(["</s>"])
    cut = tokenize("xe\u0301x", "theirs", HuggingFaceTokenizer(json.loads(theirs.to_str()), 257, 256))
    assert cut.ids == list("xéx".encode())
    assert cut.spans == [(0, 1), (1, 4), (1, 4), (4, 5)]
    assert cut.cut_characters == [(1, 3, "e\u0301")]


def test_tokens_that_share_a_character_are_one_group() -> None:
    byte = tokenize("é a東", "byte", build_tokenizer("byte", 0, []))
    assert byte.cut_characters == [(0, 2, "é"), (4, 7, "東")]
    pieces = [*(bytes([byte]) for byte in range(256)), b" \xe6", b"\x9d\xb1", b""]
    bpe = BytePairTokenizer("bpe", GPT2_PATTERN, pieces, {"<|endoftext|>": 258})
    assert tokenize("a 東é東", "bpe", bpe).cut_characters == [(1, 3, "·東"), (3, 5, "é"), (5, 7, "東")]
    assert r"·東⟨·\xe6|\x9d\xb1⟩" in tokenize(" 東", "bpe", bpe).describe(coloured=False)


def test_a_row_says_why_it_cannot_follow_and_the_others_do() -> None:
    learned, byte = build_tokenizer("character", 0, ["abc"]), build_tokenizer("byte", 0, [])
    shown = side_by_side([("a run", lambda text: learned), ("byte", lambda text: byte)], "abd")
    assert "'d'" in shown["tokenizers"][0]["error"]
    assert shown["tokenizers"][1]["ids"] == [97, 98, 100]
    with pytest.raises(UserError, match="lone surrogate"):
        side_by_side([], "\ud800")


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
    assert [(token["start"], token["end"]) for token in byte["tokens"]] == [(i, i + 1) for i in range(9)]


def test_in_words_pieces_are_told_apart_and_counted(workplace: Path) -> None:
    done = minigpt("tokenize", "hi a", "--tokenizer", "character", cwd=workplace)
    assert done.stdout.splitlines() == [
        "character: character, 5 tokens",
        "  h|i|·|a",
        "  ids 2 3 0 1",
        "  4 tokens for 4 bytes: 1.00 bytes per token",
    ]


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_a_terminal_is_shown_colours_unless_it_wants_none(
    no_color: str, coloured: bool, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    monkeypatch.setattr(command, "sys", SimpleNamespace(stdout=SimpleNamespace(isatty=lambda: True)))
    done = minigpt("tokenize", "hi a", "--tokenizer", "byte", cwd=workplace)
    assert ("\x1b" in done.stdout) == coloured
