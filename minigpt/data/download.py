"""A plain text from the network, fetched once."""

import hashlib
import http.client
import os
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from minigpt.data.files import make_folder
from minigpt.errors import UserError


def download(
    address: str, sha256: str | None, folder: Path, opener: Callable[..., Any] = urllib.request.urlopen
) -> Path:
    """The text behind an https address, as a file in `folder`; UserError without network or with another checksum."""
    path = folder / f"{hashlib.sha256(address.encode()).hexdigest()[:16]}.txt"
    if not path.exists():
        make_folder(folder, "data.directory")
        partial = path.with_name(f".partial-{path.name}-{os.getpid()}")
        try:
            _fetch(address, partial, opener)
            _check(partial, address, sha256)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    _check(path, address, sha256)
    return path


def _fetch(address: str, path: Path, opener: Callable[..., Any]) -> None:
    try:
        with opener(address, timeout=30) as answer, path.open("wb") as file:
            total = int(answer.headers.get("Content-Length") or 0) or None
            with tqdm(desc=f"fetching {address}", total=total, unit="B", unit_scale=True, delay=1.0) as bar:
                while block := answer.read(2**20):
                    file.write(block)
                    bar.update(len(block))
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise UserError(
            f"data.source = {address}: cannot be fetched ({reason}); "
            "connect to the network, or give a copy on this machine with data.source=PATH"
        ) from None


def _check(path: Path, address: str, sha256: str | None) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 is not None and found != sha256:
        raise UserError(
            f"data.source = {address}: the text's SHA-256 is {found}, and data.sha256 says {sha256}; "
            f"correct data.sha256 if the new text is wanted, and delete {path} to fetch it again"
        )
