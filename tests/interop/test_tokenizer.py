"""The same ids and the same texts in the package `tokenizers`, whatever the tokenizer and the text."""

import json
import random
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from conftest import random_model
from tokenizers import Tokenizer as Fast
from tokenizers import decoders
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel, Metaspace

from minigpt.data import stories
from minigpt.data.batches import evaluation_windows
from minigpt.data.sources import Piece
from minigpt.data.tokens import encoded
from minigpt.errors import UserError
from minigpt.evaluation.loss import evaluate
from minigpt.interop.tokenizer import definition
from minigpt.tokenizers import Tokenizer, build_tokenizer
from minigpt.tokenizers.base import SINGLE_BYTES
from minigpt.tokenizers.bpe import GPT2_PATTERN, BytePairTokenizer
from minigpt.tokenizers.character import CharacterTokenizer
from minigpt.tokenizers.huggingface import HuggingFaceTokenizer

STORIES = list(stories.generate(200, 0))
SPACES = ["", " ", "  ", "\n", "\r\n", "\t \n", "\x1c", "\xa0", "\u2003x"]
SPECIAL = ["<|endoftext|>", "a<|endoftext|>b", "<|pad|>"]
AWKWARD = [
    *SPACES,
    *SPECIAL,
    "'s",
    "'ll'real'",
    "_",
    "²½ⅷ٣",
    "\u200c\u0301",
    "İß",
    "👨\u200d👩",
    "的한글",
    "don't  stop",
    "x" * 300,
]
PARTS = [*AWKWARD, " king", "the ", "123", "King-", "hello", "unreachable"]


def random_texts(n: int) -> list[str]:
    """Characters from all over Unicode, parts that tokenizers treat in ways of their own, and words."""
    choose = random.Random(1)

    def part() -> str:
        code = choose.choice((choose.randrange(128), choose.randrange(0x3000), choose.randrange(0x110000)))
        return choose.choice(PARTS) if choose.random() < 0.3 else chr(code if not 0xD800 <= code < 0xE000 else 65)

    return ["".join(part() for _ in range(choose.randrange(40))) for _ in range(n)]


@cache
def texts() -> list[str]:
    return AWKWARD + STORIES[:20] + random_texts(10_000)


def with_holes() -> Tokenizer:
    """As tiktoken's encodings are: ids that nothing has, several special tokens."""
    tokens = [*SINGLE_BYTES, b"he", b"ll", b"", b"llo", b"hello", b"", b"", b"unreachable", b" the", b"th"]
    return BytePairTokenizer("holes", GPT2_PATTERN, tokens, {"<|endoftext|>": 258, "<|pad|>": 262})


CL100K = (
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]"
    r"|\s+(?!\S)|\s"
)
"""How tiktoken's cl100k_base cuts a text."""


def cut_as_cl100k() -> Tokenizer:
    learned = build_tokenizer("bpe", 700, STORIES)
    return BytePairTokenizer("cl100k", CL100K, learned.token_bytes, {"<|endoftext|>": learned.end_of_text})


TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "byte": lambda: build_tokenizer("byte", 0, []),
    "bpe": lambda: build_tokenizer("bpe", 700, STORIES),
    "word": lambda: build_tokenizer("word", 700, STORIES),
    "holes": with_holes,
    "cl100k": cut_as_cl100k,
}


def fast(tokenizer: Tokenizer) -> Fast:
    made = Fast.from_str(json.dumps(definition(tokenizer, begins_documents=False)))
    made.encode_special_tokens = True
    return made


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_ids_and_texts_are_the_same(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]()
    some = texts() if kind in ("bpe", "word") else texts()[:2000]
    theirs, ours = fast(tokenizer), [tokenizer.encode(text).tolist() for text in some]
    assert [made.ids for made in theirs.encode_batch(some, add_special_tokens=False)] == ours
    assert theirs.decode_batch(ours) == some
    assert theirs.token_to_id("<|endoftext|>") == tokenizer.end_of_text


def test_characters_are_the_same_and_an_unknown_one_is_refused() -> None:
    known = "".join(sorted({*"".join(STORIES[:5]), *"äß的👩\0\n\u2028"}))
    tokenizer, choose = CharacterTokenizer(known), random.Random(2)
    theirs = fast(tokenizer)
    for text in ["".join(choose.choices(known, k=n)) for n in range(200)]:
        ids = tokenizer.encode(text).tolist()
        assert theirs.encode(text, add_special_tokens=False).ids == ids
        assert theirs.decode(ids) == text
    with pytest.raises(Exception, match="UNK"):
        theirs.encode("Ω")


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_what_comes_back_is_the_same_tokenizer(kind: str) -> None:
    tokenizer = TOKENIZERS[kind]()
    back = HuggingFaceTokenizer(definition(tokenizer, False), tokenizer.vocab_size, tokenizer.end_of_text)
    assert back.token_bytes == tokenizer.token_bytes
    assert not back.begins_texts
    for text in texts()[:500]:
        assert back.encode(text).tolist() == tokenizer.encode(text).tolist()


def test_texts_keep_their_length_whatever_batches_were_padded_or_cut_to() -> None:
    tokenizer = TOKENIZERS["byte"]()
    theirs = fast(tokenizer)
    theirs.enable_padding(length=16)
    theirs.enable_truncation(16)
    back = HuggingFaceTokenizer(json.loads(theirs.to_str()), tokenizer.vocab_size, tokenizer.end_of_text)
    assert [len(back.encode("a" * n)) for n in (3, 30)] == [3, 30]


def test_where_a_text_begins_a_document_end_of_text_comes_first() -> None:
    tokenizer = TOKENIZERS["word"]()
    made = definition(tokenizer, begins_documents=True)
    assert Fast.from_str(json.dumps(made)).encode("the").ids == tokenizer.encode_prompt("the", True)
    back = HuggingFaceTokenizer(made, tokenizer.vocab_size, tokenizer.end_of_text)
    assert back.begins_texts
    assert back.begin_of_text == tokenizer.end_of_text
    for begins in (True, False):  # whatever it did before, an export does what the run does
        ids = Fast.from_str(json.dumps(definition(back, begins))).encode("the").ids
        assert ids == tokenizer.encode_prompt("the", begins)


def test_documents_begin_with_begin_of_text_where_that_is_another_token() -> None:
    ours = TOKENIZERS["holes"]()
    tokenizer = HuggingFaceTokenizer(definition(ours, False), ours.vocab_size, 258, 262)
    pieces = [Piece("hello", True), Piece("the", True)]
    assert np.concatenate(list(encoded(pieces, tokenizer))).tolist() == [
        *[262, *ours.encode("hello"), 258],
        *[262, *ours.encode("the")],
    ]


@pytest.mark.parametrize("pre", [ByteLevel(add_prefix_space=True), Metaspace()])
def test_a_space_that_is_put_before_a_text_is_no_loss_and_an_unknown_character_is(pre: Any) -> None:
    theirs = Fast(BPE({letter: number for number, letter in enumerate("Ġ▁helo<")}, [], unk_token="<"))
    theirs.pre_tokenizer = pre
    tokenizer = HuggingFaceTokenizer(json.loads(theirs.to_str()), 8, 6)
    assert len(tokenizer.encode("hello hello")) == 12
    with pytest.raises(UserError, match="not learned"):
        tokenizer.encode("help")


@pytest.mark.parametrize(("pre", "decoder"), [(ByteLevel(), decoders.ByteLevel()), (Metaspace(), decoders.Metaspace())])
def test_a_space_that_is_put_before_a_document_is_no_byte_of_it(pre: Any, decoder: Any) -> None:
    theirs = Fast(BPE({letter: number for number, letter in enumerate("Ġ▁helo<>")}, [], unk_token="<"))
    theirs.pre_tokenizer, theirs.decoder = pre, decoder
    theirs.add_special_tokens(["<", ">"])
    tokenizer = HuggingFaceTokenizer(json.loads(theirs.to_str()), 8, 7, 6)
    pieces = [Piece(text, True) for text in ("hello hole", "hell", "o")]
    tokens = np.concatenate(list(encoded(pieces, tokenizer)))
    windows = evaluation_windows(tokens, 8, 2, tokenizer.begin_of_text)
    assert evaluate(random_model(vocab_size=8, context_length=8), windows, tokenizer).bytes == len("hello holehello")
