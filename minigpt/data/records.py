"""What a file's records are, and where their text is."""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from minigpt.errors import UserError

Document = Iterable[str]
"""The text of one document, in parts of any size."""


@dataclass(frozen=True)
class Reading:
    """How files are read."""

    column: str = "text"
    """Where the text of a record is: a column, or a path of keys (meta.text)."""
    separator: str | None = None
    """What parts the documents of a text file."""
    skip_empty: bool = False
    """Whether records without text are left out, and counted, instead of refused."""


class Records:
    """Takes the texts out of a file's records, and counts those that have none."""

    def __init__(self, path: Path | str, reading: Reading) -> None:
        self._path, self._reading, self._skipped = path, reading, 0

    def document(self, record: Any, place: str) -> Iterator[Document]:
        """A record's text, a list of texts as lines; nothing, or UserError with the place, where it has none."""
        value, column = record, self._reading.column
        if isinstance(record, dict):
            for key in [column] if column in record else column.split("."):
                value = value.get(key) if isinstance(value, dict) else None
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            value = "\n".join(value)
        if isinstance(value, str) and isinstance(record, dict):
            try:
                value.encode()
            except UnicodeEncodeError:
                raise UserError(f"{self._path}, {place}: half a surrogate is no text; mend that record") from None
            yield [value]
        elif value is None and self._reading.skip_empty:
            self._skipped += 1
        else:
            raise UserError(f"{self._path}, {place}: {self._lack(record, value)}")

    def end(self) -> None:
        """Say how many were left out."""
        if self._skipped:
            _say(f"files    {self._path}: {self._skipped:,} records without text left out")

    def _lack(self, record: Any, value: Any) -> str:
        column = self._reading.column
        if not isinstance(record, dict):
            return f"no record with text under '{column}' but {_kind(record)}; write objects, as JSON Lines has them"
        there = column in record or value is not None
        found = _kind(value) if there else f"an object with {', '.join(map(str, record))}"
        null = ", or leave such records out with data.skip_empty=true" if value is None else ""
        return f"no text under '{column}' but {found}; set data.text_column to where the text is{null}"


@cache
def _say(text: str) -> None:
    """Tell it once, however often the file is read."""
    print(text, file=sys.stderr)  # noqa: T201


def _kind(value: object) -> str:
    """A JSON value's type in JSON's words."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number" if isinstance(value, int | float) else type(value).__name__)
