"""A tokenizer that came with an imported model: a whole `tokenizer.json`, run by the package `tokenizers`."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from itertools import accumulate, pairwise
from typing import Any, Self

import numpy as np

from minigpt.errors import UserError
from minigpt.tokenizers.base import SINGLE_BYTES, TokenIds, Tokenizer, read_field
from minigpt.tokenizers.bpe import byte_letters

KIND = "huggingface"
SPACE = "▁"
"""What SentencePiece writes a space as."""
BYTE = re.compile("<0x([0-9A-F]{2})>")
"""How SentencePiece writes a token that is one byte."""
BYTES = {ord(letter): byte for letter, byte in byte_letters().items()}


class HuggingFaceTokenizer(Tokenizer):
    """Another tokenizer's ids for any text that it can encode; its special tokens are never text.

    `definition` is the content of its `tokenizer.json`. The model may have room for more tokens (`vocab_size`). A new
    document begins with `begin_of_text`. A text comes back as the tokenizer has normalised it.
    """

    def __init__(
        self, definition: Mapping[str, Any], vocab_size: int, end_of_text: int, begin_of_text: int | None = None
    ) -> None:
        from tokenizers import Tokenizer as Fast

        self.definition = definition
        try:
            self._fast = Fast.from_str(json.dumps(definition))
        except Exception as error:  # the package raises nothing more particular
            raise ValueError(f"'tokenizer' is none that the package tokenizers knows ({error})") from None
        self._fast.encode_special_tokens = True  # what looks like one in a text is text
        self._fast.no_padding()
        self._fast.no_truncation()
        vocabulary = self._fast.get_vocab(with_added_tokens=True)
        super().__init__(KIND, self._bytes_of_tokens(vocabulary, vocab_size), end_of_text)
        first = first_token(definition.get("post_processor"))
        self.begins_texts = first is not None
        """Whether a text is meant to begin with `begin_of_text`."""
        self.begin_of_text = next(token for token in (begin_of_text, first, end_of_text) if token is not None)
        named = {token: name for name, token in vocabulary.items()}
        nameless = [token for token in (end_of_text, self.begin_of_text) if token not in named]
        if nameless:
            raise ValueError(f"the special token {nameless[0]} is not among the tokenizer's")
        special = {token for token, content in enumerate(self.token_bytes) if token in named and not content}
        self.special_tokens = {named[token]: token for token in sorted(special | {end_of_text, self.begin_of_text})}
        self._unknown = self._fast.token_to_id(str(definition.get("model", {}).get("unk_token")))
        self._complete = set(SINGLE_BYTES) <= set(self.token_bytes)
        letter = next((piece for piece in self.token_bytes if len(piece) == 1 and piece.isalpha()), b"")
        with suppress(UserError):  # none that it can encode
            self.added_bytes = len(self.decode_bytes(self._encode(letter.decode()))) - len(letter)

    def _encode(self, text: str) -> TokenIds:
        try:
            made = self._fast.encode(text, add_special_tokens=False)
        except Exception as error:  # the package raises nothing more particular
            raise UserError(
                f"tokenizer: cannot encode this text ({error}); leave out what it has not learned"
            ) from None
        if not self._complete:
            read = {place for begin, end in made.offsets for place in range(begin, end)}
            unread = [place for place, character in enumerate(text) if place not in read and not character.isspace()]
            if unread or self._unknown in made.ids:
                which = f" ({text[unread[0]]!r})" if unread else ""
                raise UserError(
                    f"tokenizer: there are characters in this text{which} that it has not learned; leave them out"
                )
        return np.array(made.ids, np.uint32)

    def spans(self, text: str, ids: TokenIds) -> list[tuple[int, int]]:
        """Where in the UTF-8 of `text` each token begins and ends: to the next one, where something was normalised."""
        if self.decode_bytes(ids.tolist()) == text.encode():
            return super().spans(text, ids)
        places = list(accumulate((len(character.encode()) for character in text), initial=0))
        offsets = self._fast.encode(text, add_special_tokens=False).offsets
        following = dict(pairwise([*sorted({begin for begin, _ in offsets}), len(text)]))
        return [(places[begin], places[max(end, following[begin])]) for begin, end in offsets]

    def _bytes_of_tokens(self, vocabulary: Mapping[str, int], vocab_size: int) -> list[bytes]:
        if max(vocabulary.values(), default=0) >= vocab_size:
            raise ValueError(f"the tokenizer has more tokens than the {vocab_size:,} of the model")
        added = {token.content: token.special for token in self._fast.get_added_tokens_decoder().values()}
        decoder = json.dumps(self.definition.get("decoder"), ensure_ascii=False)
        read = (
            _from_letters
            if '"ByteLevel"' in decoder
            else partial(_from_pieces, space=SPACE if SPACE in decoder else " ")
        )
        token_bytes = [b""] * vocab_size
        for token, number in vocabulary.items():
            if token not in added:
                token_bytes[number] = read(token)
            elif not added[token]:
                token_bytes[number] = token.encode()
        return token_bytes

    def _fields(self) -> dict[str, Any]:
        return {
            "tokenizer": self.definition,
            "vocab_size": self.vocab_size,
            "end_of_text": self.end_of_text,
            "begin_of_text": self.begin_of_text,
        }

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self:
        """The tokenizer of a file's `tokenizer` (a whole tokenizer.json) and the numbers of its model."""
        numbers = (read_field(fields, name, int) for name in ("vocab_size", "end_of_text", "begin_of_text"))
        return cls(read_field(fields, "tokenizer", dict), *numbers)


def _from_letters(token: str) -> bytes:
    """What a token of GPT-2's byte-level alphabet stands for."""
    try:
        return token.translate(BYTES).encode("latin-1")
    except UnicodeEncodeError:  # of another alphabet
        return token.encode()


def _from_pieces(token: str, space: str) -> bytes:
    """What a token of SentencePiece stands for."""
    byte = BYTE.fullmatch(token)
    return bytes([int(byte[1], 16)]) if byte else token.replace(space, " ").encode()


def first_token(processor: Any) -> int | None:
    """The token that a `post_processor` puts before a text, if it does."""
    match processor:
        case {"type": "Sequence", "processors": [*processors]}:
            return next((token for part in processors if (token := first_token(part)) is not None), None)
        case {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": str(name)}}, *_],
            "special_tokens": dict(known),
        } if isinstance(known.get(name), dict):
            return next(iter(known[name].get("ids", ())), None)
    return None
