"""Files that are packed: known by their first bytes, and by the ends of their names."""

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, cast

from minigpt.errors import UserError

PACKED = {".gz": b"\x1f\x8b", ".zst": b"\x28\xb5\x2f\xfd", ".xz": b"\xfd7zXZ\x00", ".bz2": b"BZh"}
"""Endings of packed files, and the bytes with which they begin."""

READ = 2**16
"""Bytes at a time."""
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
            return io.BufferedReader(_Unpacked(path, lzma.LZMADecompressor))
        case ".bz2":
            return io.BufferedReader(_Unpacked(path, bz2.BZ2Decompressor))
        case ".zst":
            import pyarrow as pa

            return io.BufferedReader(pa.input_stream(str(path), compression="zstd"))
    return path.open("rb")


class _Unpacked(io.RawIOBase):
    """What is packed as one stream or more; Python's readers take a damaged later one for the end of the file."""

    def __init__(self, path: Path, stream: Callable[[], Any]) -> None:
        self._file, self._new, self._stream = path.open("rb"), stream, stream()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            packed = b""
            if self._stream.eof:
                packed = self._stream.unused_data.lstrip(b"\0") or self._file.read(READ).lstrip(b"\0")
                if not packed and not self._file.peek(1):
                    return 0
                self._stream = self._new()
            elif self._stream.needs_input and not (packed := self._file.read(READ)):
                raise EOFError("it ends too soon")
            if content := self._stream.decompress(packed, len(buffer)):
                buffer[: len(content)] = content
                return len(content)

    def close(self) -> None:
        self._file.close()
        super().close()


def ending(name: str) -> str:
    """What a file's name says of its format, in small letters, without that of its packing."""
    suffixes = [suffix.lower() for suffix in Path(name).suffixes]
    if suffixes and suffixes[-1] in PACKED:
        suffixes.pop()
    return suffixes[-1] if suffixes else ""
