"""A token is one byte of the text's UTF-8."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from minigpt.tokenizers.base import SINGLE_BYTES, TokenIds, Tokenizer


class ByteTokenizer(Tokenizer):
    """The ids 0 to 255 are the bytes, 256 is end-of-text: any text, nothing to learn."""

    def __init__(self) -> None:
        super().__init__("byte", [*SINGLE_BYTES, b""], end_of_text=256)

    def _encode(self, text: str) -> TokenIds:
        return np.frombuffer(text.encode(), np.uint8).astype(np.uint32)

    def _fields(self) -> dict[str, Any]:
        return {}

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> Self:  # noqa: ARG003  there is nothing to read
        """The one byte tokenizer that there is."""
        return cls()
