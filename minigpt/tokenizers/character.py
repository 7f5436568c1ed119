"""A token is one character: the simplest lookup, A = 0, B = 1, …"""

import sys
from collections.abc import Iterable, Mapping
from typing import Any, Self

import numpy as np

from minigpt.errors import UserError
from minigpt.tokenizers.base import TokenIds, Tokenizer, check_unicode, place, read_field

UNKNOWN = np.iinfo(np.uint32).max


class CharacterTokenizer(Tokenizer):
    """The ids are the places in a sorted alphabet; end-of-text comes after its last character."""

    def __init__(self, alphabet: str) -> None:
        super().__init__("character", [*(character.encode() for character in alphabet), b""], len(alphabet))
        self.alphabet = alphabet
        self._ids = np.full(sys.maxunicode + 1, UNKNOWN, np.uint32)
        self._ids[code_points(alphabet)] = np.arange(len(alphabet))

    @classmethod
    def learn(cls, texts: Iterable[str]) -> Self:
        """The tokenizer whose alphabet is every character of `texts`."""
        seen = np.zeros(sys.maxunicode + 1, bool)
        for text in texts:
            check_unicode(text)
            seen[code_points(text)] = True
        return cls("".join(map(chr, np.flatnonzero(seen))))

    def _encode(self, text: str) -> TokenIds:
        ids = self._ids[code_points(text)]
        unknown = ids == UNKNOWN
        if unknown.any():
            position = int(unknown.argmax())
            raise UserError(
                f"the character {text[position]!r} (U+{ord(text[position]):04X}) {place(text, position)} is not among "
                f"the {len(self.alphabet)} characters that this tokenizer has seen; leave it out, train on a text "
                "that has it, or with tokenizer.kind byte, bpe or word"
            )
        return ids

    def _fields(self) -> dict[str, Any]:
        return {"alphabet": self.alphabet}

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self:
        """The tokenizer of a file's `alphabet`; ValueError where that is not sorted, unique characters."""
        alphabet = read_field(fields, "alphabet", str)
        if list(alphabet) != sorted(set(alphabet)):
            raise ValueError("'alphabet' must hold each character once, in order of code points")
        return cls(alphabet)


def code_points(text: str) -> TokenIds:
    """The Unicode number of each character."""
    return np.frombuffer(text.encode("utf-32-le"), "<u4")
