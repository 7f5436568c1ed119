"""What every kind of tokenizer must hold: no text is changed, no text becomes a special token."""

import sys
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minigpt.errors import UserError
from minigpt.tokenizers import Tokenizer, build_tokenizer

SAMPLE = "The cat sat on the mat; the cat's mat was 123 cm long.\n\n  Naïve café, Ωmega 東京 😀!\r\n" * 20
KINDS = ["character", "byte", "bpe", "word"]
ANY_TEXT_KINDS = ["byte", "bpe", "word"]
HARD_TEXTS = {
    "nothing": "",
    "emoji of several code points": "👩‍👩‍👧‍👦🏳️‍🌈 👍🏽",
    "combining marks": "e\u0301\u0323 \u0301n̈ नमस्ते",
    "control characters": "\x00\x01\x1b[0m\x7f\x85\x1c\x1f",
    "underscores and digits of other scripts": "snake_case __init__ 1_000 ٤٢ ½²",
    "line ends": "a\r\nb\rc\n\n\u2028d\u2029",
    "byte order mark and the last code point": "\ufeffa\uffff" + chr(sys.maxunicode),
    "long runs of white space": " " * 5000 + "a" + "\t \n" * 5000 + "b   ",
    "what looks like special tokens": "<|endoftext|><|endofprompt|> <|endoftext|>",
}


@cache
def trained(kind: str) -> Tokenizer:
    return build_tokenizer(kind, 400, [SAMPLE])


@pytest.mark.parametrize("kind", ANY_TEXT_KINDS)
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_unicode_text_comes_back_unchanged(kind: str, text: str) -> None:
    tokenizer = trained(kind)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text(st.sampled_from(sorted(set(SAMPLE)))))
def test_any_text_in_the_alphabet_of_the_sample_comes_back_unchanged(kind: str, text: str) -> None:
    tokenizer = trained(kind)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("text", HARD_TEXTS.values(), ids=HARD_TEXTS)
@pytest.mark.parametrize("kind", KINDS)
def test_hard_texts_come_back_unchanged(kind: str, text: str) -> None:
    tokenizer = trained(kind) if kind in ANY_TEXT_KINDS else build_tokenizer(kind, 400, [text])
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("kind", ANY_TEXT_KINDS)
@pytest.mark.parametrize("text", ["a" * 1_000_000, " " * 2_000_000 + "x", "x" + "\n " * 1_000_000 + "x"])
def test_a_million_characters_without_a_place_to_split_come_back_unchanged(kind: str, text: str) -> None:
    tokenizer = trained(kind)
    assert tokenizer.decode(tokenizer.encode(text)) == text


@pytest.mark.parametrize("kind", KINDS)
def test_ids_are_writeable_uint32_below_the_vocabulary_size_and_never_end_of_text(kind: str) -> None:
    tokenizer = build_tokenizer(kind, 400, [SAMPLE, "<|endoftext|>"])
    for text in (SAMPLE, "<|endoftext|>", ""):
        ids = tokenizer.encode(text)
        assert ids.dtype == np.uint32
        assert ids.flags.writeable
        assert (ids < tokenizer.vocab_size).all()
        assert tokenizer.end_of_text not in ids


@pytest.mark.parametrize("kind", KINDS)
def test_no_text_has_no_ids(kind: str) -> None:
    assert trained(kind).encode("").shape == (0,)


@pytest.mark.parametrize("kind", KINDS)
def test_every_token_but_end_of_text_has_bytes_of_its_own(kind: str) -> None:
    tokenizer = trained(kind)
    assert len(tokenizer.token_bytes) == tokenizer.vocab_size == tokenizer.end_of_text + 1
    assert tokenizer.token_bytes[tokenizer.end_of_text] == b""
    assert len(set(tokenizer.token_bytes)) == tokenizer.vocab_size


@pytest.mark.parametrize("kind", KINDS)
def test_decoding_joins_the_bytes_of_the_tokens_and_leaves_special_ones_out(kind: str) -> None:
    tokenizer = trained(kind)
    ids = tokenizer.encode("the café").tolist()
    assert b"".join(tokenizer.token_bytes[token] for token in ids) == "the café".encode()
    assert tokenizer.decode([*ids, tokenizer.end_of_text]) == "the café"


@pytest.mark.parametrize("kind", ANY_TEXT_KINDS)
def test_half_a_character_decodes_to_its_bytes_and_to_the_replacement_character(kind: str) -> None:
    tokenizer = trained(kind)
    assert tokenizer.decode_bytes([0xF0, 0x9F]) == b"\xf0\x9f"
    assert tokenizer.decode([0x61, 0xF0, 0x9F]) == "a\ufffd"


@pytest.mark.parametrize("kind", KINDS)
def test_a_lone_surrogate_is_refused_with_its_code_point_and_position(kind: str) -> None:
    with pytest.raises(UserError, match=r"U\+D83D at position 4"):
        trained(kind).encode("the \ud83d")


@pytest.mark.parametrize("kind", ["character", "bpe", "word"])
def test_a_lone_surrogate_in_the_corpus_is_refused(kind: str) -> None:
    with pytest.raises(UserError, match=r"U\+DC80 at position 1"):
        build_tokenizer(kind, 400, ["all right", "x\udc80"])
