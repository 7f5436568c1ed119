"""Documents out of files: one reader for each format, and what is wrong with a file told with its place."""

import codecs
import csv
import gzip
import io
import json
import lzma
import re
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from minigpt.data.packing import ending, open_packed
from minigpt.data.records import Document, Reading, Records
from minigpt.errors import UserError

READ = 2**20
LARGEST = 2**28
"""Bytes of a record, and of a JSON document that is read as a whole."""


def read_documents(path: Path, reading: Reading) -> Iterator[Document]:
    """The documents of one file; UserError with the file and the place where it is not what its name says."""
    reader = READERS.get(ending(path.name), _text)
    with _told(path):
        yield from reader(path, reading)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what can be wrong with a file into an error that names it."""
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: damaged ({error}); fetch or pack it again") from None
    except OSError as error:
        if error.strerror is None:  # of the packing and not of the system
            raise UserError(f"{path}: damaged ({error}); fetch or pack it again") from None
        raise UserError(f"{path}: cannot be read ({error.strerror}); copy it to where it can be") from None


def _characters(path: Path) -> Iterator[str]:
    """Text of a UTF-8 file in parts, line ends as they are, a byte-order mark left out."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    read = 0
    with _told(path), open_packed(path) as file:
        while True:
            block = file.read(READ)
            pending = len(decoder.getstate()[0])
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                place = read - pending + error.start
                raise UserError(f"{path}: not UTF-8 at byte {place}; convert the file to UTF-8") from None
            yield text.removeprefix("\ufeff") if read == 0 else text
            read += len(block)
            if not block:
                return


def _text(path: Path, reading: Reading) -> Iterator[Document]:
    if reading.separator is None:
        yield _characters(path)
    else:
        yield from parted(_characters(path), reading.separator)


def parted(parts: Iterator[str], separator: str) -> Iterator[Document]:
    """The documents of a text between which a separator stands, with or without line ends around it.

    Each is to be read to its end before the next one is asked for.
    """
    pattern = re.compile(rf"\r?\n?{re.escape(separator)}\r?\n?")
    reach = len(separator) + 4  # characters that may yet become a separator
    held, ended = "", False

    def document() -> Iterator[str]:
        nonlocal held, ended
        while True:
            found = pattern.search(held)
            if found and (ended or found.end() + 2 <= len(held)):
                text, held = held[: found.start()], held[found.end() :]
                yield text
                return
            if ended:
                text, held = held, ""
                yield text
                return
            if not found and len(held) > reach:
                yield held[:-reach]
                held = held[-reach:]
            more = next(parts, None)
            ended = more is None
            held += more or ""

    while not ended or held:
        yield document()


def _json_lines(path: Path, reading: Reading) -> Iterator[Document]:
    records = Records(path, reading)
    with open_packed(path) as file:
        for number, line in enumerate(iter(lambda: file.readline(LARGEST + 1), b""), 1):
            text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            if text.strip():
                yield from records.document(_parse(text, path, f"line {number}"), f"line {number}")
    records.end()


def _json(path: Path, reading: Reading) -> Iterator[Document]:
    """One document: an array of records, or a single one; what holds a record a line is read as such."""
    with open_packed(path) as file:
        first = file.readline(LARGEST + 1).removeprefix(codecs.BOM_UTF8)
        alone = not file.read(READ).strip()
    try:
        by_lines = not alone and isinstance(json.loads(first), dict)
    except ValueError:
        by_lines = False
    if by_lines:
        yield from _json_lines(path, reading)
        return
    records = Records(path, reading)
    with open_packed(path) as file:
        content = _parse(file.read(LARGEST + 1).removeprefix(codecs.BOM_UTF8), path, "as a whole")
    for number, record in enumerate(content if isinstance(content, list) else [content], 1):
        yield from records.document(record, f"record {number}")
    records.end()


def _parse(content: bytes, path: Path, place: str) -> Any:
    if len(content) > LARGEST:
        raise UserError(f"{path}, {place}: more than {LARGEST:,} bytes; write smaller records, one a line (.jsonl)")
    try:
        return json.loads(content, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}, {place}: not JSON in UTF-8 ({error}); mend it there") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key '{next(key for key in keys if keys.count(key) > 1)}' is given twice")
    return made


def _table(path: Path, reading: Reading, delimiter: str) -> Iterator[Document]:
    records = Records(path, reading)
    csv.field_size_limit(2**31 - 1)
    with open_packed(path) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as lines:
        rows = csv.DictReader(lines, delimiter=delimiter, strict=True)
        try:
            _check_column(path, reading, rows.fieldnames or [reading.column], reading.column)
            for number, row in enumerate(rows, 1):
                if any(row.get(None, ())):  # a comma at the end does no harm
                    raise UserError(f"{path}, row {number}: has more fields than columns; put its text in quotes")
                yield from records.document(row, f"row {number}")
        except csv.Error as error:
            raise UserError(f"{path}, line {rows.line_num + 1}: not a table ({error}); mend its quotes") from None
        except UnicodeDecodeError:  # somewhere in what was read ahead
            deque(_characters(path), maxlen=0)  # tells where
    records.end()


def _check_column(path: Path, reading: Reading, names: Sequence[str], column: str) -> None:
    """UserError where a table has no such column, or more than one."""
    if column not in names:
        raise UserError(
            f"{path}: has no column '{reading.column}' but {', '.join(names)}; set data.text_column to that of the text"
        )
    if names.count(column) > 1:
        raise UserError(f"{path}: has the column '{column}' more than once; rename all but one")


def _parquet(path: Path, reading: Reading) -> Iterator[Document]:
    import pyarrow as pa
    from pyarrow import parquet

    records, number = Records(path, reading), 0
    try:
        with path.open("rb") as content, parquet.ParquetFile(content) as file:
            root = reading.column if reading.column in file.schema_arrow.names else reading.column.split(".")[0]
            _check_column(path, reading, file.schema_arrow.names, root)
            for batch in file.iter_batches(columns=[root], batch_size=1024):
                for record in batch.to_pylist():
                    number += 1
                    yield from records.document(record, f"row {number}")
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not a whole Parquet file ({reason}); fetch it again, or unpack it") from None
    records.end()


READERS: dict[str, Callable[[Path, Reading], Iterator[Document]]] = {
    ".txt": _text,
    ".md": _text,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".json": _json,
    ".csv": lambda path, reading: _table(path, reading, ","),
    ".tsv": lambda path, reading: _table(path, reading, "\t"),
    ".parquet": _parquet,
}
"""By what a file's name ends in; other files that are named one by one are read as text."""
