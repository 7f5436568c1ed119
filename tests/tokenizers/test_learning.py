"""What the tokenizers learn from a corpus, compared with counts by hand and with other implementations."""

from collections.abc import Iterator
from functools import cache
from itertools import pairwise

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from minigpt.errors import UserError
from minigpt.tokenizers import base, build_tokenizer
from minigpt.tokenizers.bpe import BytePairTokenizer, byte_letters

SAMPLE = "When the people's 42 cats sat, they've sat;\n\n    they'll sit — naïve café 東京東京 😀😀!\r\n" * 50


def reference(tokenizer: BytePairTokenizer) -> tokenizers.Tokenizer:
    """The same merges in the `tokenizers` package, which knows them as pairs and has GPT-2's pattern built in."""
    letters = {byte: letter for letter, byte in byte_letters().items()}
    ranks = {token: rank for rank, token in enumerate(tokenizer.token_bytes) if token}
    vocabulary = {"".join(letters[byte] for byte in token): rank for token, rank in ranks.items()}

    def halves(token: bytes) -> tuple[str, str]:
        parts = [bytes([byte]) for byte in token]
        while len(parts) > 2:
            _, place = min((ranks.get(a + b, len(ranks)), place) for place, (a, b) in enumerate(pairwise(parts)))
            parts[place : place + 2] = [parts[place] + parts[place + 1]]
        left, right = ("".join(letters[byte] for byte in part) for part in parts)
        return left, right

    merges = [halves(token) for token in tokenizer.token_bytes[256:-1]]
    model = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges))
    model.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return model


@cache
def bpe_and_reference() -> tuple[BytePairTokenizer, tokenizers.Tokenizer]:
    tokenizer = BytePairTokenizer.learn([SAMPLE], 380)
    return tokenizer, reference(tokenizer)


# Whether a character that is newer than a package's Unicode tables is a letter, that package cannot know.
@given(text=st.text(st.characters(exclude_categories=["Cs", "Cn"])) | st.text(st.sampled_from(SAMPLE)))
def test_bpe_cuts_any_text_as_the_tokenizers_package_does(text: str) -> None:
    tokenizer, model = bpe_and_reference()
    assert tokenizer.encode(text).tolist() == model.encode(text).ids


def test_bpe_cuts_the_text_that_it_learned_from_as_the_tokenizers_package_does() -> None:
    tokenizer, model = bpe_and_reference()
    ids = tokenizer.encode(SAMPLE)
    assert ids.tolist() == model.encode(SAMPLE).ids
    assert {b" people", b"'s", b" 42", b"'ve", b"'ll", b";", b"\n\n   "} <= set(tokenizer.token_bytes)


def test_bpe_merges_the_most_frequent_pair_first() -> None:
    # Sennrich's algorithm by hand: u+g comes 20 times, then ' '+p 17 times, then u+n 16 times.
    corpus = " hug" * 10 + " pug" * 5 + " pun" * 12 + " bun" * 4 + " hugs" * 5
    tokenizer = build_tokenizer("bpe", 260, [corpus])
    assert tokenizer.token_bytes == [*(bytes([byte]) for byte in range(256)), b"ug", b" p", b"un", b""]
    assert tokenizer.encode(" pun bug").tolist() == [257, 258, 32, ord("b"), 256]


def test_byte_letters_are_those_of_the_byte_level_alphabet() -> None:
    assert sorted(byte_letters()) == sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    printed = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False).pre_tokenize_str("é \n")
    assert bytes(byte_letters()[letter] for letter in printed[0][0]) == "é \n".encode()


def test_words_are_the_most_frequent_ones_with_their_space_and_the_rest_is_bytes() -> None:
    corpus = "the cat, the cat, the cat and the dog and the dog and the dog and once"
    tokenizer = build_tokenizer("word", 260, [corpus])
    assert tokenizer.token_bytes[256:] == [b" the", b" and", b" cat", b""]
    assert tokenizer.encode("the cat and the cow").tolist() == [*b"the", 258, 257, 256, *b" cow"]


@pytest.mark.parametrize("kind", ["bpe", "word"])
def test_what_comes_only_once_is_not_learned(kind: str) -> None:
    assert build_tokenizer(kind, 300, ["never twice"]).vocab_size == 257
    assert b" twice" in build_tokenizer(kind, 300, ["never twice twice"]).token_bytes


def test_a_word_of_any_script_is_one_token() -> None:
    tokenizer = build_tokenizer("word", 300, [" Ωmega 東京 straße 4711 ..." * 2])
    assert set(tokenizer.token_bytes[256:]) == {
        b"",
        *(f" {word}".encode() for word in ["Ωmega", "東京", "straße", "4711", "..."]),
    }


def test_characters_are_numbered_in_order_of_their_code_points() -> None:
    tokenizer = build_tokenizer("character", 400, ["HI ", "BAD", "é"])
    assert tokenizer.token_bytes == [character.encode() for character in " ABDHIé"] + [b""]
    assert tokenizer.encode("HIé").tolist() == [4, 5, 6]


@pytest.mark.parametrize(
    ("text", "told"), [("cafés", r"'é' \(U\+00E9\) at position 3 \('cafés'\)"), ("fac\n", r"'\\n' \(U\+000A\)")]
)
def test_a_character_outside_the_alphabet_is_named_with_its_place_and_the_remedy(text: str, told: str) -> None:
    with pytest.raises(UserError, match=rf"{told}.*train on a text that has it"):
        build_tokenizer("character", 400, ["cafs"]).encode(text)


def test_bytes_are_those_of_utf8() -> None:
    tokenizer = build_tokenizer("byte", 400, iter(()))
    assert tokenizer.encode("né😀").tolist() == list("né😀".encode())
    assert (tokenizer.vocab_size, tokenizer.end_of_text) == (257, 256)


@pytest.mark.parametrize("kind", ["bpe", "word"])
def test_the_vocabulary_has_the_size_asked_for_or_what_a_small_corpus_gives(kind: str) -> None:
    assert build_tokenizer(kind, 270, [SAMPLE]).vocab_size == 270
    assert 257 < build_tokenizer(kind, 50_000, [SAMPLE]).vocab_size < 400
    assert build_tokenizer(kind, 257, [SAMPLE]).vocab_size == 257
    assert build_tokenizer(kind, 300, []).vocab_size == 257


@pytest.mark.parametrize("kind", ["bpe", "word"])
def test_only_the_beginning_of_a_corpus_is_learned_from(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "LEARN_FROM", 10_000)
    texts = iter(["the café " * 100] * 1000)
    assert " café".encode() in build_tokenizer(kind, 300, texts).token_bytes
    assert len(list(texts)) == 990


def test_the_alphabet_has_the_last_character_of_a_long_corpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "LEARN_FROM", 10)
    assert build_tokenizer("character", 300, ["a" * 1000, "z"]).token_bytes == [b"a", b"z", b""]


@pytest.mark.parametrize("kind", ["character", "bpe", "word"])
def test_the_same_corpus_gives_the_same_tokenizer_however_it_is_cut_between_words(kind: str) -> None:
    words = [" " + word for word in SAMPLE.split()]
    corpus = "".join(words)
    fingerprints = {build_tokenizer(kind, 320, texts).fingerprint for texts in ([corpus], words, iter(words))}
    assert len(fingerprints) == 1
    assert build_tokenizer(kind, 320, [corpus, "zzz zzz zzz" * 100]).fingerprint not in fingerprints


@pytest.mark.parametrize("kind", ["character", "bpe", "word"])
def test_an_error_in_the_source_of_the_corpus_reaches_the_caller(kind: str) -> None:
    def broken() -> Iterator[str]:
        yield "some text"
        raise UserError("corpus.txt: not UTF-8")

    with pytest.raises(UserError, match=r"corpus\.txt: not UTF-8"):
        build_tokenizer(kind, 300, broken())
