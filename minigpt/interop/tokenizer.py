"""Every tokenizer as a `tokenizer.json`, which the package `tokenizers`, and so Transformers, runs: the same ids."""

import json
import re
import sys
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from minigpt.tokenizers import Tokenizer
from minigpt.tokenizers.base import END_OF_TEXT
from minigpt.tokenizers.bpe import BytePairTokenizer, byte_letters
from minigpt.tokenizers.character import CharacterTokenizer
from minigpt.tokenizers.huggingface import HuggingFaceTokenizer
from minigpt.tokenizers.word import WordTokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Fast


POSSESSIVE = re.compile(r"((?:\\[pP]\{\w+\}|\\.|\[(?:\\.|[^\]])+\]|[^\\\]})])\{\d+(?:,\d*)?\})\+")
"""Repetitions such as \\d{1,3}+, which give nothing back: to the package `tokenizers`, + after them repeats them."""


def definition(tokenizer: Tokenizer, begins_documents: bool) -> dict[str, Any]:
    """The content of the tokenizer's `tokenizer.json`; where texts begin documents, begin-of-text comes first."""
    names = {token: name for name, token in special_tokens(tokenizer).items()}
    begin = names[tokenizer.begin_of_text]
    if isinstance(tokenizer, HuggingFaceTokenizer):
        made = dict(tokenizer.definition)
        if begins_documents != tokenizer.begins_texts:
            made["post_processor"] = _putting_first(begin, tokenizer.begin_of_text) if begins_documents else None
        return made
    from tokenizers import AddedToken

    fast = _by_character(tokenizer) if isinstance(tokenizer, CharacterTokenizer) else _by_bytes(tokenizer)
    fast.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in special_tokens(tokenizer)])
    made = json.loads(fast.to_str())
    return made | {"post_processor": _putting_first(begin, tokenizer.begin_of_text)} if begins_documents else made


def _putting_first(name: str, token: int) -> dict[str, Any]:
    """A `post_processor` that puts a special token before a text."""
    special, text = {"SpecialToken": {"id": name, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}
    return {
        "type": "TemplateProcessing",
        "single": [special, text],
        "pair": [special, text, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {name: {"id": name, "ids": [token], "tokens": [name]}},
    }


def special_tokens(tokenizer: Tokenizer) -> dict[str, int]:
    """The names of tokens that are no text, in the order of their ids."""
    if isinstance(tokenizer, HuggingFaceTokenizer):
        return tokenizer.special_tokens
    named = tokenizer.special_tokens if isinstance(tokenizer, BytePairTokenizer) else {}
    return dict(sorted({END_OF_TEXT: tokenizer.end_of_text, **named}.items(), key=lambda item: item[1]))


def written_bytes(token: bytes) -> str:
    """A token in GPT-2's byte-level alphabet."""
    return "".join(LETTERS[byte] for byte in token)


LETTERS = {byte: letter for letter, byte in byte_letters().items()}


def merges(tokenizer: Tokenizer) -> Iterator[tuple[bytes, bytes]]:
    """The last pair that is joined to make each token, in the order of the ids: no other is ever joined to it.

    Whatever is joined inside a token's bytes is what would be joined in it alone, as long as nothing across its ends
    is; and if something is, it does not come about.
    """
    known = set(tokenizer.token_bytes)
    for token in range(tokenizer.vocab_size):
        for pair in tokenizer.merges(token)[-1:]:
            if known.issuperset(pair):  # else it only comes as a whole piece of the text
                yield pair


def _by_character(tokenizer: CharacterTokenizer) -> "Fast":
    from tokenizers import Regex, decoders, models, pre_tokenizers
    from tokenizers import Tokenizer as Fast

    vocabulary = {character: number for number, character in enumerate(tokenizer.alphabet)}
    fast = Fast(models.WordLevel({**vocabulary, END_OF_TEXT: tokenizer.end_of_text}))  # refuses an unknown character
    fast.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    fast.decoder = decoders.Fuse()
    return fast


def _by_bytes(tokenizer: Tokenizer) -> "Fast":
    """Pieces of the text that are tokens as they are, or else bytes that are merged, where there are merges."""
    from tokenizers import Regex, decoders, models, pre_tokenizers
    from tokenizers import Tokenizer as Fast

    vocabulary = {written_bytes(content): number for number, content in enumerate(tokenizer.token_bytes) if content}
    pairs = [(written_bytes(left), written_bytes(right)) for left, right in merges(tokenizer)]
    pattern = POSSESSIVE.sub(r"(?>\1)", tokenizer.pattern) if isinstance(tokenizer, BytePairTokenizer) else None
    pattern = word_pattern() if isinstance(tokenizer, WordTokenizer) else pattern
    splits = [] if pattern is None else [pre_tokenizers.Split(Regex(pattern), "isolated")]
    fast = Fast(models.BPE({**vocabulary, **special_tokens(tokenizer)}, pairs, ignore_merges=bool(splits)))
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    fast.pre_tokenizer = pre_tokenizers.Sequence([*splits, letters])
    fast.decoder = decoders.ByteLevel()
    return fast


@cache
def word_pattern() -> str:
    """The pattern of `tokenizers/word.py`, with Python's letters, digits and white space written out.

    Other programs know another version of Unicode.
    """
    every = "".join(chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
    letters, digits, white = (_ranges(sort, every) for sort in (r"[^\W\d_]", r"\d", r"\s"))
    return f" ?[{letters}]+| ?[{digits}]+| ?[^{letters}{digits}{white}]+|[{white}]+(?![^{white}])|[{white}]+"


def _ranges(sort: str, every: str) -> str:
    """The characters of a sort, of all in their order, as ranges inside the brackets of a regular expression."""
    runs = (found[0] for found in re.finditer(f"{sort}+", every))
    return "".join(rf"\x{{{ord(run[0]):X}}}-\x{{{ord(run[-1]):X}}}" for run in runs)
