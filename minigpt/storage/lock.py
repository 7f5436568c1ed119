"""One folder, one process: a lock that the system takes away from whoever dies."""

import errno
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from minigpt.errors import UserError, warn

NAME = ".lock"
HELD = {errno.EACCES, errno.EAGAIN, errno.EDEADLK}


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder, which is there; UserError with process and computer of whoever holds it already.

    Where the file system has no locks, a warning says so. The lock's file stays: whoever deleted it could delete the
    one that the next process has just locked.
    """
    path = folder / NAME
    with path.open("a+", encoding="utf-8") as file:
        try:
            _take(file)
        except OSError as error:
            if error.errno in HELD:
                raise UserError(f"{folder}: {_holder(path)} is working on it; wait for its end, or stop it") from None
            reason = f"cannot be locked here ({error.strerror}); see that only one process trains it"
            warn(f"{folder}: {reason}")
        file.truncate(0)
        file.write(json.dumps({"process": os.getpid(), "host": socket.gethostname()}))
        file.flush()
        yield


def _holder(path: Path) -> str:
    try:
        holder = json.loads(path.read_text(encoding="utf-8"))
        return f"process {holder['process']} on {holder['host']}"
    except (OSError, ValueError, LookupError, TypeError):
        return "another process"


def _take(file: IO[str]) -> None:
    if sys.platform == "win32":
        import msvcrt

        file.seek(2**30)  # beyond what is read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        file.seek(0)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
