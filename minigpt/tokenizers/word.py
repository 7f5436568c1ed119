"""A token is one frequent word with the space before it; the rest is spelled in bytes."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np

from minigpt.tokenizers.base import (
    SINGLE_BYTES,
    TokenIds,
    Tokenizer,
    check_unique,
    learning_chunks,
    read_strings,
)

# GPT-2's idea in Python's own regular expressions: letters, digits, signs, white space, each with the space before it.
# Every character belongs to one of the branches, so that nothing of a text is lost.
WORD = re.compile(r" ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")


class WordTokenizer(Tokenizer):
    """The ids 0 to 255 are the bytes, then come the words, the most frequent first, then end-of-text."""

    def __init__(self, words: list[str]) -> None:
        token_bytes = [*SINGLE_BYTES, *(word.encode() for word in words), b""]
        super().__init__("word", token_bytes, len(token_bytes) - 1)
        self.words = words
        self._ids = {word: token for token, word in enumerate(words, start=256)}

    @classmethod
    def learn(cls, texts: Iterable[str], vocab_size: int) -> Self:
        """The most frequent words of `texts` that come more than once, to at most `vocab_size` tokens in all."""
        counts = Counter[str]()
        for chunk in learning_chunks(texts):
            counts.update(WORD.findall(chunk))
        words = [word for word, count in counts.items() if count > 1 and len(word.encode()) > 1]
        return cls(sorted(words, key=lambda word: (-counts[word], word))[: vocab_size - 257])

    def _encode(self, text: str) -> TokenIds:
        ids: list[int] = []
        for word in WORD.findall(text):
            if word in self._ids:
                ids.append(self._ids[word])
            else:
                ids.extend(word.encode())
        return np.array(ids, np.uint32)

    def _fields(self) -> dict[str, Any]:
        return {"words": self.words}

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self:
        """The tokenizer of a file's `words`; ValueError where they are not words, each once."""
        tokenizer = cls(read_strings(fields, "words"))
        check_unique(tokenizer.token_bytes)
        return tokenizer
