"""The same text under several tokenizers: pieces, ids, counts, and how byte-pair encoding put the pieces together."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minigpt.errors import UserError, nearest_path
from minigpt.tokenizers import KINDS, Tokenizer, build_tokenizer, load_tokenizer, named_tokenizer

SIGNS = {" ": "·", "\n": "↵", "\r": "␍", "\t": "→"}
"""How white space is shown."""
COLOURS = (153, 223, 157, 218, 187, 195)
"""Backgrounds of neighbouring tokens, in a terminal's palette of 256."""


@dataclass(frozen=True)
class Token:
    """One token of a text."""

    id: int
    piece: bytes
    merges: list[tuple[bytes, bytes]]
    """Pairs that byte-pair encoding joined, in order; empty for other tokenizers."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON; bytes as a list of numbers, beside their visible form."""
        return {
            "id": self.id,
            "piece": visible(self.piece),
            "bytes": list(self.piece),
            "merges": [[visible(part) for part in pair] for pair in self.merges],
        }


@dataclass(frozen=True)
class Tokenized:
    """A text under one tokenizer."""

    name: str
    kind: str
    vocab_size: int
    tokens: list[Token]
    n_bytes: int

    @property
    def bytes_per_token(self) -> float:
        """How much of the text a token holds on average."""
        return self.n_bytes / len(self.tokens) if self.tokens else 0.0

    @property
    def merged(self) -> dict[bytes, list[tuple[bytes, bytes]]]:
        """Each piece that was put together, once, with its merges."""
        return {token.piece: token.merges for token in self.tokens if token.merges}

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "kind": self.kind,
            "vocab_size": self.vocab_size,
            "n_tokens": len(self.tokens),
            "n_bytes": self.n_bytes,
            "bytes_per_token": self.bytes_per_token,
            "tokens": [token.as_dict() for token in self.tokens],
        }

    def describe(self, coloured: bool) -> str:
        """For people: the pieces side by side, their ids, the counts, and the merges that made them."""
        separator = "" if coloured else "|"
        pieces = separator.join(
            f"\x1b[48;5;{COLOURS[i % len(COLOURS)]}m\x1b[30m{visible(token.piece)}\x1b[0m"
            if coloured
            else visible(token.piece)
            for i, token in enumerate(self.tokens)
        )
        lines = [
            f"{self.name}: {self.kind}, {self.vocab_size:,} tokens",
            f"  {pieces}",
            f"  ids {' '.join(str(token.id) for token in self.tokens)}",
            f"  {len(self.tokens):,} tokens for {self.n_bytes:,} bytes: {self.bytes_per_token:.2f} bytes per token",
        ]
        lines += [f"  {visible(piece)} = {steps(merges)}" for piece, merges in self.merged.items()]
        return "\n".join(lines)


def tokenize(text: str, name: str, tokenizer: Tokenizer) -> Tokenized:
    """Cut a text into tokens; UserError where the tokenizer cannot encode it."""
    tokens = [
        Token(token, tokenizer.token_bytes[token], tokenizer.merges(token)) for token in tokenizer.encode(text).tolist()
    ]
    return Tokenized(name, tokenizer.kind, tokenizer.vocab_size, tokens, len(text.encode()))


def find_tokenizer(name: str, text: str) -> Tokenizer:
    """A run's own tokenizer, `byte`, `character` (whose alphabet is that of `text`), or one of tiktoken's encodings."""
    path = Path(name)
    if (path / "config.yaml").is_file():
        return load_tokenizer(path / "tokenizer.json")
    if path.is_file():
        return load_tokenizer(path)
    if name in ("byte", "character"):
        return build_tokenizer(name, 0, [text])
    if name in KINDS:
        raise UserError(f"command line: --tokenizer {name}: is learned from a corpus; name a run that has learned one")
    import tiktoken

    names = ["byte", "character", *tiktoken.list_encoding_names()]
    if name not in names:
        runs = (config.parent for config in path.parent.glob("*/config.yaml"))
        hint = f"{', '.join(names)}{nearest_path(path, [*runs, *map(Path, names)])}"
        raise UserError(f"command line: --tokenizer {name}: is neither a run's folder nor one of {hint}")
    return named_tokenizer(name, "command line: --tokenizer", "that of a run")


def newest_run(folder: Path) -> list[str]:
    """The run in `folder` that was begun last, if there is one."""
    files = sorted(folder.glob("*/tokenizer.json"), key=lambda path: path.stat().st_mtime)
    return [str(path.parent) for path in files[-1:]]


def visible(piece: bytes) -> str:
    """A token's text with signs for white space; invisible characters and bytes of parts of one by their numbers."""
    text = piece.decode(errors="backslashreplace")
    return "".join(SIGNS.get(sign) or (sign if sign.isprintable() else escape(sign)) for sign in text)


def escape(sign: str) -> str:
    """A character by its number, as Python writes it."""
    return sign.encode("unicode_escape").decode()


def steps(merges: Iterable[tuple[bytes, bytes]]) -> str:
    """Merges in words, such as `l+o, lo+w`."""
    return ", ".join("+".join(visible(part) for part in pair) for pair in merges)
