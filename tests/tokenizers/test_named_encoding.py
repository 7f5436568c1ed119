"""Encodings that tiktoken knows by name: its ids, all of it in the file, clear words where there is no network."""

from pathlib import Path

import pytest
import requests
import tiktoken

from minigpt.errors import UserError
from minigpt.tokenizers import build_tokenizer, load_tokenizer

TEXT = "they're the only theatre, Thérèse! <|endoftext|> <|mask|>\n\n  42"


def encoding(special_tokens: dict[str, int]) -> tiktoken.Encoding:
    """A little encoding with what the great ones have: an order of bytes and a pattern of its own, and a gap at 256."""
    tokens = [bytes([byte]) for byte in reversed(range(256))]
    ranks = {token: rank for rank, token in enumerate(tokens)} | {b"th": 257, b"the": 258, b" the": 259}
    return tiktoken.Encoding("gpt2", pat_str=r" ?\w\w|\w|\W", mergeable_ranks=ranks, special_tokens=special_tokens)


@pytest.mark.parametrize(
    ("special_tokens", "vocab_size", "end_of_text"),
    [
        ({"<|endoftext|>": 256}, 260, 256),
        ({"<|endoftext|>": 262, "<|mask|>": 270}, 271, 262),
        ({"<|mask|>": 270}, 272, 271),
    ],
)
def test_a_named_encoding_gives_tiktokens_ids_also_from_its_file(
    special_tokens: dict[str, int],
    vocab_size: int,
    end_of_text: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = encoding(special_tokens)
    monkeypatch.setattr(tiktoken, "get_encoding", lambda name: original)
    built = build_tokenizer("gpt2", 500, [])
    built.save(tmp_path / "tokenizer.json")
    monkeypatch.setattr(tiktoken, "get_encoding", None)
    loaded = load_tokenizer(tmp_path / "tokenizer.json")
    for tokenizer in (built, loaded):
        assert (tokenizer.kind, tokenizer.vocab_size, tokenizer.end_of_text) == ("gpt2", vocab_size, end_of_text)
        assert tokenizer.encode(TEXT).tolist() == original.encode_ordinary(TEXT)
        assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT
        named = [token for token in range(vocab_size) if tokenizer.token_bytes[token]]
        assert named == [*range(256), 257, 258, 259]
        assert [tokenizer.token_bytes[token] for token in named] == [
            original.decode_single_token_bytes(token) for token in named
        ]
    assert loaded.fingerprint == built.fingerprint


@pytest.mark.parametrize("error", [requests.exceptions.ConnectionError, requests.exceptions.HTTPError])
def test_an_encoding_that_cannot_be_fetched_is_told_in_one_line_with_the_remedies(
    error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*args: object, **kwargs: object) -> None:
        raise error("a long story\nof retries")

    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(requests, "get", no_network)
    with pytest.raises(
        UserError, match=r"kind = p50k_edit: .*connect .* once, set TIKTOKEN_CACHE_DIR .* use bpe"
    ) as told:
        build_tokenizer("p50k_edit", 500, [])
    assert "\n" not in str(told.value)


def test_a_download_that_tiktoken_finds_broken_is_told_in_the_same_way(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise ValueError("Hash mismatch for data downloaded")

    monkeypatch.setattr(tiktoken, "get_encoding", broken)
    with pytest.raises(UserError, match=r"kind = cl100k_base: .*TIKTOKEN_CACHE_DIR"):
        build_tokenizer("cl100k_base", 500, [])


@pytest.mark.parametrize(("kind", "meant"), [("words", "word"), ("gpt-2", "gpt2"), ("o200k", "o200k_base")])
def test_an_unknown_kind_is_told_with_the_valid_ones_and_the_nearest(kind: str, meant: str) -> None:
    told = (
        rf"tokenizer\.kind: '{kind}' is not one of character, byte, bpe, word, .*cl100k_base.*did you mean '{meant}'\?"
    )
    with pytest.raises(UserError, match=told):
        build_tokenizer(kind, 500, [])
