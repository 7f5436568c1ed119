"""Checksums: XXH3, 64 bits in hexadecimal. They tell damage, not forgery."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import xxhash

from minigpt.errors import UserError

T = TypeVar("T")
KEY = "checksum"
LARGEST = 2**28
"""Bytes of a JSON file."""
BLOCK = 2**20


class DamageError(UserError):
    """A file is not what was written."""


def checksum(content: bytes) -> str:
    """Of some bytes."""
    return xxhash.xxh3_64_hexdigest(content)


def file_checksum(path: Path) -> str:
    """Of a file's bytes; DamageError where it cannot be read or is no file."""
    digest = xxhash.xxh3_64()
    try:
        if not path.is_file():  # a pipe would have no end
            raise DamageError(f"{path}: {'is no file' if path.exists() else 'No such file'}")
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    except OSError as error:
        raise DamageError(f"{path}: {error.strerror}") from None
    return digest.hexdigest()


def check_file(path: Path, expected: str) -> None:
    """DamageError where a file is not the one with that checksum."""
    if file_checksum(path) != expected:
        raise DamageError(f"{path}: damaged (its checksum is another)")


def sealed(document: Mapping[str, Any]) -> bytes:
    """A JSON document with a checksum of what it holds at its end."""
    return json.dumps({**document, KEY: _checksum(document)}, indent=1, allow_nan=False).encode() + b"\n"


def unsealed(document: Mapping[str, Any]) -> dict[str, Any]:
    """What a sealed document holds beside its checksum; ValueError where that is not the right one."""
    rest = {key: value for key, value in document.items() if key != KEY}
    if document.get(KEY) != _checksum(rest):
        raise ValueError("its checksum is another" if KEY in document else "it has no checksum")
    return rest


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object that a file holds; DamageError where it holds none."""
    try:
        if path.exists() and not path.is_file():  # a pipe would have no end
            raise DamageError(f"{path}: is no file")
        if path.is_file() and path.stat().st_size > LARGEST:
            raise DamageError(f"{path}: damaged (larger than {LARGEST:,} bytes)")
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise DamageError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise DamageError(f"{path}: damaged (not JSON)") from None
    if not isinstance(document, dict):
        raise DamageError(f"{path}: damaged (no JSON object)")
    return document


def read_sealed(path: Path, kind: Callable[..., T]) -> T:
    """What a file with a sealed document holds, made into its kind; DamageError where it is not as it was written."""
    try:
        document = unsealed(read_json(path))
    except ValueError as error:
        raise DamageError(f"{path}: damaged ({error})") from None
    try:
        return kind(**document)
    except (ValueError, TypeError):
        raise DamageError(f"{path}: damaged (it does not hold what it should)") from None


def _checksum(document: Mapping[str, Any]) -> str:
    return checksum(json.dumps(document, sort_keys=True).encode())
