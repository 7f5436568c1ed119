"""Files of prepared tokens, beside a manifest that says what they are and tells damage."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
import xxhash
from numpy.typing import NDArray
from pydantic import Field, NonNegativeInt
from pydantic.dataclasses import dataclass as checked_dataclass

from minigpt.data.files import Split
from minigpt.errors import warn
from minigpt.storage.checksums import DamageError, check_file, read_sealed
from minigpt.tokenizers import TokenIds

MANIFEST = "manifest.json"
SHARD_TOKENS = 64 * 2**20

Ids = NDArray[np.unsignedinteger[Any]]


@checked_dataclass(frozen=True)
class Shard:
    """A file of tokens."""

    file: Annotated[str, Field(pattern=r"^[a-z]+-[0-9]+\.bin$")]
    tokens: NonNegativeInt
    checksum: str


@checked_dataclass(frozen=True)
class Manifest:
    """What prepared tokens are, and where."""

    format: int
    text: str
    """Where they come from."""
    dtype: Literal["uint16", "uint32"]
    splits: dict[Split, list[Shard]]


class ShardWriter:
    """Writes ids to `SPLIT-00000.bin` and so on; `shards` says what is in which."""

    def __init__(self, folder: Path, split: str, dtype: np.dtype[Any]) -> None:
        self._folder, self._split, self._dtype = folder, split, dtype
        self.shards: list[Shard] = []

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def write(self, ids: TokenIds) -> None:
        """Append ids."""
        while len(ids):
            room = SHARD_TOKENS - self._length
            content = ids[:room].astype(self._dtype).tobytes()
            self._file.write(content)
            self._digest.update(content)
            self._length += len(ids[:room])
            ids = ids[room:]
            if self._length == SHARD_TOKENS:
                self._close()
                self._open()

    def _open(self) -> None:
        self._name = f"{self._split}-{len(self.shards):05d}.bin"
        self._file, self._digest, self._length = (self._folder / self._name).open("wb"), xxhash.xxh3_64(), 0

    def _close(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self.shards.append(Shard(self._name, self._length, self._digest.hexdigest()))


def read_manifest(folder: Path) -> Manifest | None:
    """What the prepared tokens are, or None where there are none or, which is told, where they are damaged."""
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        manifest = read_sealed(path, Manifest)
        for shard in (shard for shards in manifest.splits.values() for shard in shards):
            check_file(folder / shard.file, shard.checksum)
    except DamageError as error:
        warn(f"{error}; prepared anew")
        return None
    return manifest


def open_shards(folder: Path, manifest: Manifest, split: Split) -> list[Ids]:
    """The tokens of a split, memory-mapped."""
    return [np.memmap(folder / shard.file, manifest.dtype, "r") for shard in manifest.splits[split] if shard.tokens]
