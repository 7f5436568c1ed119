"""Files that are packed: known by their first bytes, and by the ends of their names."""

import bz2
import gzip
import io
import lzma
from pathlib import Path
from typing import IO, cast

from minigpt.errors import UserError

PACKED = {".gz": b"\x1f\x8b", ".zst": b"\x28\xb5\x2f\xfd", ".xz": b"\xfd7zXZ\x00", ".bz2": b"BZh"}
"""Endings of packed files, and the bytes with which they begin."""

NO_TEXT = {b"PK\x03\x04": "a ZIP archive, as office documents are", b"%PDF-": "a PDF document"}


def open_packed(path: Path) -> IO[bytes]:
    """The file's bytes, unpacked where its first ones say that it is packed."""
    with path.open("rb") as file:
        begin = file.read(6)
    for magic, name in NO_TEXT.items():
        if begin.startswith(magic):
            raise UserError(f"{path}: is {name}; make a file of text of what is in it")
    match next((packing for packing, magic in PACKED.items() if begin.startswith(magic)), None):
        case ".gz":
            return cast("IO[bytes]", gzip.open(path))
        case ".xz":
            return lzma.open(path)
        case ".bz2":
            return bz2.open(path)
        case ".zst":
            import pyarrow as pa

            return io.BufferedReader(pa.input_stream(str(path), compression="zstd"))
    return path.open("rb")


def ending(name: str) -> str:
    """What a file's name says of its format, in small letters, without that of its packing."""
    suffixes = [suffix.lower() for suffix in Path(name).suffixes]
    if suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""
