"""A text from the network, fetched once."""

import hashlib
import http.client
import re
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from typing import Any

import xxhash
from pydantic.dataclasses import dataclass as checked_dataclass

from minigpt.data.files import DATA_REMEDY, make_folder
from minigpt.data.packing import PACKED
from minigpt.data.progress import bar
from minigpt.data.readers import READERS
from minigpt.errors import UserError, warn
from minigpt.storage.checksums import DamageError, check_file, read_sealed, sealed
from minigpt.storage.writing import beside, room_for, write_whole


@checked_dataclass(frozen=True)
class Fetched:
    """What came from where."""

    address: str
    sha256: str
    xxh3: str


def download(
    address: str, sha256: str | None, folder: Path, opener: Callable[..., Any] = urllib.request.urlopen
) -> Path:
    """The text behind an https address, as a file in `folder`; UserError without network or with another SHA-256.

    The file keeps the ending by which its format is known. What came with it is told by a file beside it.
    """
    path = folder / (hashlib.sha256(address.encode()).hexdigest()[:16] + _ending(address))
    manifest = path.with_name(f"{path.name}.manifest")
    if (earlier := _fetched(path, manifest)) is not None:
        _check(earlier, sha256, f"or delete {path} to fetch the text again")
        return path
    make_folder(folder, "data.directory")
    with beside(path) as partial:
        found = _fetch(address, partial, opener)
        _check(found, sha256, "or look for the right address")
        manifest.unlink(missing_ok=True)
        partial.replace(path)
        write_whole(manifest, sealed(asdict(found)))
    return path


def _ending(address: str) -> str:
    suffixes = [suffix.lower() for suffix in PurePosixPath(re.split("[?#]", address)[0]).suffixes]
    packing = suffixes.pop() if suffixes and suffixes[-1] in PACKED else ""
    return (suffixes[-1] if suffixes and suffixes[-1] in READERS else ".txt") + packing


def _fetched(path: Path, manifest: Path) -> Fetched | None:
    """What is there as it came earlier; says where it is not as it came any more."""
    if not (path.exists() and manifest.exists()):
        return None
    try:
        fetched = read_sealed(manifest, Fetched)
        check_file(path, fetched.xxh3)
    except DamageError as error:
        warn(f"{error}; fetched anew")
        return None
    return fetched


def _fetch(address: str, path: Path, opener: Callable[..., Any]) -> Fetched:
    """Write what is behind an address into a file, all of it; UserError where it does not come, or finds no room."""
    sha256, xxh3 = hashlib.sha256(), xxhash.xxh3_64()
    with room_for(path.parent, DATA_REMEDY), path.open("wb") as file:
        for block in _received(address, opener):
            file.write(block)
            sha256.update(block)
            xxh3.update(block)
    return Fetched(address, sha256.hexdigest(), xxh3.hexdigest())


def _received(address: str, opener: Callable[..., Any]) -> Iterator[bytes]:
    """What comes from an address, all of it; UserError where it does not."""
    received = 0
    try:
        with opener(address, timeout=30) as answer:
            if not answer.geturl().startswith("https:"):
                raise OSError(f"it leads to {answer.geturl()}, which anybody on the way can change")
            total = int(answer.headers.get("Content-Length") or 0) or None
            with bar(desc=f"fetching {address}", total=total, unit="B", unit_scale=True, delay=1.0) as shown:
                while block := answer.read(2**20):
                    yield block
                    received += len(block)
                    shown.update(len(block))
            if total is not None and received != total:
                raise OSError(f"{received:,} of {total:,} bytes came")
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise UserError(
            f"data.source = {address}: cannot be fetched ({reason}); "
            "connect to the network and run the command again, or give a copy on this machine with data.source=PATH"
        ) from None


def _check(found: Fetched, sha256: str | None, remedy: str) -> None:
    if sha256 not in (None, found.sha256):
        raise UserError(
            f"data.source = {found.address}: the text's SHA-256 is {found.sha256}, and data.sha256 says {sha256}; "
            f"correct data.sha256 if that text is wanted, {remedy}"
        )
