"""Writing that a reader never sees half of, and that a power cut does not undo."""

import errno
import os
from pathlib import Path

NO_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM, errno.EBADF}
"""What file systems answer that cannot flush a folder: many network shares."""


def write_whole(path: Path, content: bytes) -> None:
    """Put a file in its place in one go: at any moment there is all of the old one or all of the new one.

    Raises OSError where the disk does not take it; the old one stays then.
    """
    beside = path.with_name(f".partial-{path.name}-{os.getpid()}")
    try:
        write_through(beside, content)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    flush_folder(path.parent)


def write_through(path: Path, content: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def flush_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk, where its file system can tell (Windows does so by itself)."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_FLUSH:
            raise
    finally:
        os.close(descriptor)
