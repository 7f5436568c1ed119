"""What every tokenizer does: text to ids, ids to text, and itself to one JSON file."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from minigpt.errors import UserError
from minigpt.storage.checksums import sealed
from minigpt.storage.writing import save

FORMAT = "minigpt-tokenizer"
VERSION = 2
END_OF_TEXT = "<|endoftext|>"
SINGLE_BYTES = [bytes([byte]) for byte in range(256)]

LEARN_FROM = 20_000_000  # bytes of UTF-8; more hardly changes which tokens are frequent
CHUNK = 65_536  # characters that a learner sees at once
AROUND = 20  # characters on either side of one that is told of

TokenIds = NDArray[np.uint32]
T = TypeVar("T")


class Tokenizer(ABC):
    """Text as token ids and back, without loss.

    `token_bytes[id]` is what a token stands for: b"" for `end_of_text`, other special tokens and unused ids.
    """

    def __init__(self, kind: str, token_bytes: list[bytes], end_of_text: int) -> None:
        self.kind = kind
        self.token_bytes = token_bytes
        self.vocab_size = len(token_bytes)
        self.end_of_text = end_of_text
        self.begin_of_text = end_of_text
        self.added_bytes = 0
        """That a document's first token has and the document has not."""

    def encode(self, text: str) -> TokenIds:
        """The ids of `text`, never those of special tokens; UserError where a character cannot be encoded."""
        check_unicode(text)
        return self._encode(text)

    def encode_prompt(self, text: str, begin_document: bool) -> list[int]:
        """The ids of a text to continue, at least one: begin-of-text before a new document and instead of no text."""
        ids: list[int] = self.encode(text).tolist()
        return [self.begin_of_text, *ids] if begin_document or not ids else ids

    def spans(self, text: str, ids: TokenIds) -> list[tuple[int, int]]:  # noqa: ARG002 - each byte is in a token
        """Where in the UTF-8 of `text`, whose ids are `ids`, each token begins and ends."""
        ends = accumulate((len(self.token_bytes[token]) for token in ids.tolist()), initial=0)
        return list(pairwise(ends))

    def merges(self, token: int) -> list[tuple[bytes, bytes]]:  # noqa: ARG002 - only byte-pair encoding merges
        """The pairs that were joined, in order, to make a token out of single bytes."""
        return []

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes that `ids` stand for; they may begin or end inside a character."""
        return b"".join([self.token_bytes[token] for token in ids])

    def decode(self, ids: Iterable[int]) -> str:
        """The text that `ids` stand for, with U+FFFD for bytes that are not UTF-8."""
        return self.decode_bytes(ids).decode(errors="replace")

    def to_json(self) -> bytes:
        """The content of the tokenizer's file: everything that `load_tokenizer` needs."""
        return sealed({"format": FORMAT, "version": VERSION, "kind": self.kind, **self._fields()})

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the tokenizer's file, in hexadecimal."""
        return hashlib.sha256(self.to_json()).hexdigest()

    def save(self, path: str | Path) -> None:
        """Write the file whole or not at all; UserError where the place does not allow it."""
        save(Path(path), self.to_json(), "make room there, or choose another place")

    @abstractmethod
    def _encode(self, text: str) -> TokenIds:
        """The ids of `text`, which is free of lone surrogates."""

    @abstractmethod
    def _fields(self) -> dict[str, Any]:
        """What the file holds beside format, version and kind."""

    @classmethod
    @abstractmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self:
        """The tokenizer of a file that holds `fields`; ValueError says what is wrong with them."""


def place(text: str, position: int) -> str:
    """Where something is in a text, and what stands around it."""
    return f"at position {position} ({text[max(0, position - AROUND) : position + AROUND]!r})"


def check_unicode(text: str) -> None:
    """Refuse lone surrogates, which are in no valid text and have no UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"cannot encode U+{ord(text[error.start]):04X} {place(text, error.start)}: a lone surrogate is not text; "
            "remove it, or read the text as UTF-8 with errors='replace'"
        ) from error


def learning_chunks(texts: Iterable[str]) -> Iterator[str]:
    """The first `LEARN_FROM` bytes of `texts`, in chunks that bound a learner's memory."""
    n_bytes = 0
    for text in texts:
        check_unicode(text)
        for start in range(0, len(text), CHUNK):
            chunk = text[start : start + CHUNK]
            yield chunk
            n_bytes += len(chunk.encode())
            if n_bytes >= LEARN_FROM:
                return


def read_field(fields: Mapping[str, Any], key: str, kind: type[T]) -> T:
    """The value of `key`; ValueError where it is missing or of another type."""
    if key not in fields:
        raise ValueError(f"'{key}' is missing")
    value = fields[key]
    if not isinstance(value, kind):
        raise ValueError(f"'{key}' must be {kind.__name__}, not {type(value).__name__}")
    return value


def read_strings(fields: Mapping[str, Any], key: str) -> list[str]:
    """The list of strings under `key`; ValueError where it is anything else."""
    strings = read_field(fields, key, list)
    if not all(isinstance(string, str) for string in strings):
        raise ValueError(f"'{key}' must hold strings only")
    return strings


def check_unique(tokens: Iterable[bytes]) -> None:
    """ValueError naming the first token that is there twice."""
    seen = set[bytes]()
    for token in tokens:
        if token in seen:
            raise ValueError(f"the token {token!r} is there twice")
        seen.add(token)
