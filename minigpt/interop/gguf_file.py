"""What stands in a GGUF file: values by key, and tensors that are read one at a time.

The layout: magic, version, two counts; then each value with key and type; then name, shape, type and place of each
tensor; then their bytes. Every size is checked against the file's before memory is taken for it.
"""

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from minigpt.errors import UserError, needs

MAGIC = b"GGUF"
VERSIONS = (2, 3)
LARGEST_HEADER = 2**28
"""Bytes of everything before the tensors."""
MOST_DIMENSIONS = 4
NUMBERS = {0: "u1", 1: "i1", 2: "<u2", 3: "<i2", 4: "<u4", 5: "<i4", 6: "<f4", 7: "?", 10: "<u8", 11: "<i8", 12: "<f8"}
"""numpy's names for the types of values."""
STRING, ARRAY = 8, 9
FORMATS = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q4_K", "Q5_K", "Q6_K")
"""Types of tensors that are read; the Q are integers in blocks that share a scale."""


def require_gguf() -> Any:
    """The package gguf; UserError where it is not installed."""
    with needs("interop", "a GGUF file"):
        import gguf
    return gguf


@dataclass(frozen=True)
class TensorPlace:
    """Shape (as torch has it), type and place of one tensor."""

    shape: tuple[int, ...]
    format: Any
    start: int
    n_bytes: int


class GgufFile:
    """The values and tensors of a file; UserError where it is not a whole GGUF file, or one that is not read here."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            if not path.is_file():  # a pipe would have no end
                raise UserError(f"{path}: {'is no file' if path.exists() else 'No such file'}; name a .gguf file")
            with path.open("rb") as file:
                self._read(_Header(file, path))
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from None

    def _read(self, header: "_Header") -> None:
        if header.take(4) != MAGIC:
            raise UserError(f"{self.path}: not a GGUF file (it does not begin with GGUF)")
        if (version := header.number("<I")) not in VERSIONS:
            raise UserError(f"{self.path}: GGUF version {version} is not read here; convert it to version 3")
        n_tensors, n_values = header.number("<Q"), header.number("<Q")
        self.values = header.named(n_values, header.value)
        if (parts := self.values.get("split.count", 1)) != 1:
            raise UserError(
                f"{self.path}: split.count = {parts!r}: put the parts together with llama-gguf-split --merge"
            )
        described = header.named(n_tensors, header.description)
        alignment = self.values.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment < 1:
            raise header.damage(f"general.alignment = {alignment!r}")
        start = math.ceil(header.file.tell() / alignment) * alignment
        self.tensors: dict[str, TensorPlace] = {}
        for name, (shape, kind, offset) in described.items():
            place = self._place(name, shape, kind, start + offset)
            if place.start + place.n_bytes > header.size:
                raise header.damage(f"it ends before {name} does")
            self.tensors[name] = place

    def _place(self, name: str, shape: tuple[int, ...], kind: int, start: int) -> TensorPlace:
        gguf = require_gguf()
        names = {int(known): known for known in gguf.GGML_QUANT_SIZES}
        found = names[kind].name if kind in names else f"of the unknown type {kind}"
        if found not in FORMATS:
            raise UserError(f"{self.path}: {name} is {found}; this minigpt reads {', '.join(FORMATS)}")
        per_block, block_bytes = gguf.GGML_QUANT_SIZES[names[kind]]
        if not shape or 0 in shape or shape[-1] % per_block:
            raise UserError(f"{self.path}: damaged GGUF file ({name} has the shape {shape}); get it again")
        return TensorPlace(shape, names[kind], start, math.prod(shape) // per_block * block_bytes)

    def tensor(self, name: str) -> Tensor:
        """One tensor in float32; UserError where the file has none of that name."""
        if name not in self.tensors:
            raise UserError(f"{self.path}: the tensor {name} is missing; get a whole file of the model")
        place = self.tensors[name]
        try:
            content = np.fromfile(self.path, np.uint8, place.n_bytes, offset=place.start)
            rows = content.reshape(*place.shape[:-1], -1)
        except (OSError, ValueError):
            raise UserError(f"{self.path}: changed while it was read; begin again") from None
        return torch.from_numpy(require_gguf().quants.dequantize(rows, place.format)).reshape(place.shape)


class _Header:
    """Reads a file from its beginning, and never further than the file goes."""

    def __init__(self, file: IO[bytes], path: Path) -> None:
        self.file, self.path = file, path
        self.size = path.stat().st_size

    def damage(self, reason: str) -> UserError:
        """What to raise."""
        return UserError(f"{self.path}: damaged GGUF file ({reason}); get it again")

    def expect(self, n_bytes: int) -> None:
        """UserError where fewer bytes than that are left, or more than a header has."""
        place = self.file.tell()
        if place + n_bytes > self.size:
            raise self.damage("it ends too early")
        if place + n_bytes > LARGEST_HEADER:
            raise self.damage(f"its values take more than {LARGEST_HEADER:,} bytes")

    def take(self, n_bytes: int) -> bytes:
        """The next bytes."""
        self.expect(n_bytes)
        return self.file.read(n_bytes)

    def number(self, layout: str) -> int:
        """The next whole number."""
        return int(struct.unpack(layout, self.take(struct.calcsize(layout)))[0])

    def string(self) -> str:
        """The next string."""
        try:
            return self.take(self.number("<Q")).decode()
        except UnicodeDecodeError:
            raise self.damage("a string is not UTF-8") from None

    def value(self) -> Any:
        """The next value, after its type."""
        kind = self.number("<I")
        if kind != ARRAY:
            return self._items(kind, 1)[0]
        return self._items(self.number("<I"), self.number("<Q"))

    def _items(self, kind: int, n: int) -> list[Any]:
        if kind == STRING:
            self.expect(8 * n)
            return [self.string() for _ in range(n)]
        if kind not in NUMBERS:
            raise self.damage(f"a value has the unknown type {kind}")
        layout = np.dtype(NUMBERS[kind])
        return np.frombuffer(self.take(n * layout.itemsize), layout).tolist()

    def description(self) -> tuple[tuple[int, ...], int, int]:
        """Shape, type and offset of the next tensor; the file has the innermost dimension first."""
        n_dimensions = self.number("<I")
        if n_dimensions > MOST_DIMENSIONS:
            raise self.damage(f"a tensor has {n_dimensions} dimensions")
        shape = tuple(self.number("<Q") for _ in range(n_dimensions))[::-1]
        return shape, self.number("<I"), self.number("<Q")

    def named(self, n: int, read: Callable[[], Any]) -> dict[str, Any]:
        """So many names, each with what `read` finds after it."""
        self.expect(13 * n)  # the shortest
        found: dict[str, Any] = {}
        for _ in range(n):
            name = self.string()
            if name in found or not name.isprintable():
                raise self.damage(f"{name!r} is there twice, or no name")
            found[name] = read()
        return found
