"""The same text under several tokenizers: pieces, ids, counts, and how byte-pair encoding put the pieces together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from minigpt.errors import UserError
from minigpt.tokenizers.base import Tokenizer, check_unicode
from minigpt.tokenizers.find import TokenizerOf

SIGNS = {" ": "·", "\n": "↵", "\r": "␍", "\t": "→"}
"""How white space is shown."""
COLOURS = (153, 223, 157, 218, 187, 195)
"""Backgrounds of neighbouring tokens, in a terminal's palette of 256."""


@dataclass(frozen=True)
class Token:
    """A token, wherever it stands."""

    id: int
    piece: bytes
    merges: list[tuple[bytes, bytes]]
    """Pairs that byte-pair encoding joined, in order; empty for other tokenizers."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON; bytes as a list of numbers, beside their visible form."""
        return {
            "id": self.id,
            "piece": label(self.piece),
            "bytes": list(self.piece),
            "merges": [[visible(part) for part in pair] for pair in self.merges],
        }


@dataclass(frozen=True)
class Tokenized:
    """A text under one tokenizer."""

    name: str
    kind: str
    vocab_size: int
    content: bytes
    """The text in UTF-8."""
    ids: list[int]
    spans: list[tuple[int, int]]
    """Where in `content` each token begins and ends."""
    vocabulary: dict[int, Token]
    """The tokens that occur, once each."""

    @property
    def tokens(self) -> list[Token]:
        """The tokens in their order."""
        return [self.vocabulary[token] for token in self.ids]

    @property
    def bytes_per_token(self) -> float:
        """How much of the text a token holds on average."""
        return len(self.content) / len(self.ids) if self.ids else 0.0

    @property
    def cut_characters(self) -> list[tuple[int, int, str]]:
        """Tokens that together are characters which none of them holds whole: the first, the one after the last."""
        begins, end = [], 0
        for place, (start, stop) in enumerate(self.spans):
            if start >= end and not is_inside(self.content[start : start + 1]):
                begins.append(place)
            end = stop
        groups = (pair for pair in pairwise([*begins, len(self.ids)]) if pair[1] - pair[0] > 1)
        return [(i, j, visible(self.content[self.spans[i][0] : self.spans[j - 1][1]])) for i, j in groups]

    def _head(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "kind": self.kind,
            "vocab_size": self.vocab_size,
            "n_tokens": len(self.ids),
            "n_bytes": len(self.content),
            "bytes_per_token": self.bytes_per_token,
        }

    def as_dict(self) -> dict[str, Any]:
        """For JSON: a list of tokens, each with all that is known of it."""
        known = {token.id: token.as_dict() for token in self.vocabulary.values()}
        places = zip(self.ids, self.spans, strict=True)
        tokens = [known[token] | {"start": start, "end": end} for token, (start, end) in places]
        return self._head() | {"tokens": tokens}

    def as_columns(self) -> dict[str, Any]:
        """For the page: the same in a tenth of the room."""
        return self._head() | {
            "ids": self.ids,
            "starts": [start for start, _ in self.spans],
            "ends": [end for _, end in self.spans],
            "characters": self.cut_characters,
            "vocabulary": {token.id: token.as_dict() for token in self.vocabulary.values()},
        }

    def describe(self, coloured: bool) -> str:
        """For people: the pieces side by side, their ids, the counts, and the merges that made them."""
        pieces = [visible(token.piece) for token in self.tokens]
        if coloured:
            pieces = [f"\x1b[48;5;{COLOURS[i % len(COLOURS)]}m\x1b[30m{piece}\x1b[0m" for i, piece in enumerate(pieces)]
        for first, end, character in self.cut_characters:
            pieces[first] = f"{character}⟨{pieces[first]}"
            pieces[end - 1] += "⟩"
        lines = [
            f"{self.name}: {self.kind}, {self.vocab_size:,} tokens",
            f"  {('' if coloured else '|').join(pieces)}",
            f"  ids {' '.join(map(str, self.ids))}",
            f"  {len(self.ids):,} tokens for {len(self.content):,} bytes: {self.bytes_per_token:.2f} bytes per token",
        ]
        merged = (token for token in self.vocabulary.values() if token.merges)
        return "\n".join([*lines, *(f"  {visible(token.piece)} = {steps(token.merges)}" for token in merged)])


def tokenize(text: str, name: str, tokenizer: Tokenizer) -> Tokenized:
    """Cut a text into tokens; UserError where the tokenizer cannot encode it."""
    encoded = tokenizer.encode(text)
    ids: list[int] = encoded.tolist()
    vocabulary = {
        token: Token(token, tokenizer.token_bytes[token], tokenizer.merges(token)) for token in dict.fromkeys(ids)
    }
    spans = tokenizer.spans(text, encoded)
    return Tokenized(name, tokenizer.kind, tokenizer.vocab_size, text.encode(), ids, spans, vocabulary)


def side_by_side(tokenizers: Sequence[tuple[str, TokenizerOf]], text: str) -> dict[str, Any]:
    """What the page shows: the text under each, or why that one cannot encode it; UserError where it is no text."""
    check_unicode(text)
    rows = []
    for name, tokenizer_of in tokenizers:
        try:
            rows.append(tokenize(text, name, tokenizer_of(text)).as_columns())
        except UserError as error:
            rows.append({"name": name, "error": str(error)})
    return {"text": text, "tokenizers": rows}


def is_inside(byte: bytes) -> bool:
    """Whether a byte of UTF-8 goes on with a character that another one begins."""
    return b"\x80" <= byte < b"\xc0"


def visible(piece: bytes) -> str:
    """A token's text with signs for white space; invisible characters and bytes of parts of one by their numbers."""
    text = piece.decode(errors="backslashreplace")
    return "".join(SIGNS.get(sign) or (sign if sign.isprintable() else escape(sign)) for sign in text)


def label(piece: bytes) -> str:
    """What a token is shown as: its visible text, or that it ends a document."""
    return visible(piece) or "⟨end⟩"


def escape(sign: str) -> str:
    """A character by its number, as Python writes it."""
    return sign.encode("unicode_escape").decode()


def steps(merges: Iterable[tuple[bytes, bytes]]) -> str:
    """Merges in words, such as `l+o, lo+w`."""
    return ", ".join("+".join(visible(part) for part in pair) for pair in merges)
