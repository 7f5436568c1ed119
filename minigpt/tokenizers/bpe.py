"""Byte-pair encoding: frequent pairs of tokens become tokens, beginning with single bytes (Sennrich 2016; GPT-2)."""

import base64
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any, Self

import numpy as np

from minigpt.errors import UserError
from minigpt.tokenizers.base import (
    END_OF_TEXT,
    SINGLE_BYTES,
    TokenIds,
    Tokenizer,
    check_unique,
    learning_chunks,
    read_field,
    read_strings,
)

# How GPT-2 cuts a text into the pieces that merges stay inside of.
GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LEARNED_PIECE = 256  # characters; in text without spaces, such as a genome, learning merges in longer pieces takes ages
PROBE = "".join(map(chr, range(1, 0x250))) + " 東京 😀\r\n\n  "
"""Characters of many kinds, which a pattern has to take in."""
WHITE_BLOCK = 100_000  # characters; tiktoken's regular expressions give up on a run of some 1,000,000 white ones


class BytePairTokenizer(Tokenizer):
    """Merges that are applied in the order of their ids, run by tiktoken.

    A piece of the text that `pattern` cuts out begins as bytes; of all neighbours that together are a token, those
    with the lowest id are joined, until none are left.
    """

    def __init__(self, kind: str, pattern: str, token_bytes: list[bytes], special_tokens: dict[str, int]) -> None:
        import tiktoken

        super().__init__(kind, token_bytes, special_tokens[END_OF_TEXT])
        self.pattern = pattern
        self.special_tokens = special_tokens
        self.n_bytes = np.array([len(token) for token in token_bytes])
        self.encoding = tiktoken.Encoding(
            kind,
            pat_str=pattern,
            mergeable_ranks={token: rank for rank, token in enumerate(token_bytes) if token},
            special_tokens=special_tokens,
        )

    @classmethod
    def learn(cls, texts: Iterable[str], vocab_size: int) -> Self:
        """The merges of the pairs that are most frequent in `texts`, to at most `vocab_size` tokens in all.

        The ids 0 to 255 are the bytes, then come the merges in order, then end-of-text.
        """
        from tokenizers import Regex, models, pre_tokenizers, trainers
        from tokenizers import Tokenizer as Learner

        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        patterns = [GPT2_PATTERN, rf"[\s\S]{{1,{LEARNED_PIECE}}}"]
        splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
        learner = Learner(models.BPE())
        learner.pre_tokenizer = pre_tokenizers.Sequence([*splits, byte_level])
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size - 1,
            min_frequency=2,
            initial_alphabet=byte_level.alphabet(),
            show_progress=False,
        )
        learner.train_from_iterator(learning_chunks(texts), trainer)

        vocabulary = learner.get_vocab()
        merged = sorted((token for token in vocabulary if len(token) > 1), key=vocabulary.__getitem__)
        letters = byte_letters()
        token_bytes = [*SINGLE_BYTES, *(bytes(letters[letter] for letter in token) for token in merged), b""]
        return cls("bpe", GPT2_PATTERN, token_bytes, {END_OF_TEXT: len(token_bytes) - 1})

    @classmethod
    def named(cls, name: str) -> Self:
        """One of tiktoken's encodings, from its cache or the network; OSError or ValueError where neither has it."""
        import tiktoken

        encoding = tiktoken.get_encoding(name)
        special_tokens = dict(encoding._special_tokens)
        special_tokens.setdefault(END_OF_TEXT, encoding.n_vocab)
        token_bytes = [b""] * (max(encoding.max_token_value, special_tokens[END_OF_TEXT]) + 1)
        for token, rank in encoding._mergeable_ranks.items():
            token_bytes[rank] = token
        return cls(name, encoding._pat_str, token_bytes, special_tokens)

    def merges(self, token: int) -> list[tuple[bytes, bytes]]:
        """The pairs that were joined, in order, to make a token out of single bytes."""
        ranks = self.encoding._mergeable_ranks
        parts = [bytes([byte]) for byte in self.token_bytes[token]]
        joined = []
        while len(parts) > 1:
            pairs = list(pairwise(parts))
            place = min(range(len(pairs)), key=lambda i: ranks.get(b"".join(pairs[i]), len(self.token_bytes)))
            joined.append(pairs[place])
            parts[place : place + 2] = [b"".join(pairs[place])]
        return joined

    def _encode(self, text: str) -> TokenIds:
        blocks = range(0, len(text) - WHITE_BLOCK + 1, WHITE_BLOCK)
        cuts = [start for start in blocks if text[start : start + WHITE_BLOCK].isspace()]
        parts = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        try:
            ids = np.concatenate([self.encoding.encode_to_numpy(part, disallowed_special=()) for part in parts])
        except ValueError as error:
            raise UserError(f"tokenizer: its pattern {self.pattern!r} gives up on this text ({error})") from None
        if self.pattern != GPT2_PATTERN and self.n_bytes[ids].sum() != len(text.encode()):
            raise UserError(f"tokenizer: its pattern {self.pattern!r} leaves characters of this text out")
        return ids

    def _fields(self) -> dict[str, Any]:
        tokens = [base64.b64encode(token).decode() for token in self.token_bytes]
        return {"pattern": self.pattern, "special_tokens": self.special_tokens, "tokens": tokens}

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self:
        """The tokenizer of a file's `pattern`, `tokens` (base64 by id, "" for none) and `special_tokens`."""
        tokens = read_strings(fields, "tokens")
        try:
            token_bytes = [base64.b64decode(token, validate=True) for token in tokens]
        except ValueError as error:
            raise ValueError(f"'tokens' must be base64 ({error})") from error
        check_unique(token for token in token_bytes if token)
        if missing := set(SINGLE_BYTES).difference(token_bytes):
            raise ValueError(f"the single byte {min(missing)!r} is not among the tokens")
        special_tokens = read_field(fields, "special_tokens", dict)
        free = {token for token, content in enumerate(token_bytes) if not content}
        for name, token in special_tokens.items():
            if type(token) is not int or token not in free:
                raise ValueError(f"the special token {name!r} has the id {token!r}, which is not free for it")
        read_field(special_tokens, END_OF_TEXT, int)  # every tokenizer has it
        pattern = read_field(fields, "pattern", str)
        check_pattern(pattern)
        return cls(read_field(fields, "kind", str), pattern, token_bytes, special_tokens)


def check_pattern(pattern: str) -> None:
    """ValueError where a pattern leaves characters out, cuts out pieces of nothing, or takes too long."""
    import regex

    try:
        pieces = [piece[0] for piece in regex.finditer(pattern, PROBE, timeout=1)]
    except (regex.error, TimeoutError) as error:
        raise ValueError(f"'pattern' {pattern!r} is not to be used ({error or 'it takes too long'})") from None
    if not all(pieces):
        raise ValueError(f"'pattern' {pattern!r} cuts out pieces of nothing")
    if "".join(pieces) != PROBE:
        raise ValueError(f"'pattern' {pattern!r} leaves characters of a text out")


def byte_letters() -> dict[str, int]:
    """The byte behind each letter of GPT-2's byte-level alphabet, which the `tokenizers` package learns in.

    A printable byte is its own letter; the others, in order, have the letters from U+0100 on.
    """
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(256 + n): byte for n, byte in enumerate(others)}
