"""Writing that a reader never sees half of, and that a power cut does not undo."""

import errno
import glob
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from minigpt.errors import UserError

NO_FLUSH = {errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EPERM, errno.EBADF}
"""What file systems answer that cannot flush a folder: many network shares."""


def write_whole(path: Path, content: bytes) -> None:
    """Put a file in its place in one go: at any moment there is all of the old one or all of the new one.

    Raises OSError where the disk does not take it; the old one stays then.
    """
    with beside(path) as partial:
        write_through(partial, content)
        settle(partial, path)


@contextmanager
def room_for(path: Path, remedy: str = "name another place, or make room") -> Iterator[None]:
    """UserError with the remedy where a place does not take what is written there."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror or error}); {remedy}") from None


def save(path: Path, content: bytes, remedy: str) -> None:
    """Write a file whole; UserError with the remedy where the place does not allow it."""
    with room_for(path, remedy):
        write_whole(path, content)


def save_page(path: Path, page: str, remedy: str = "choose another --output") -> None:
    """The same of HTML, which replaces nothing but HTML, and goes into what is no file, such as a pipe."""
    content = page.encode()
    begin = content[:9]
    with room_for(path, remedy):
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
        if path.is_file() and path.stat().st_size:
            with path.open("rb") as file:
                if file.read(len(begin)).lower() != begin.lower():
                    raise UserError(f"{path}: exists already, and is no page; {remedy}")
    save(path, content, remedy)


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """Where to make a file or folder that is to be renamed to `path` when it is whole.

    What is left there in the end is deleted, and what a process that was killed has left there.
    """
    host = socket.gethostname()
    for leftover in path.parent.glob(f".partial-{glob.escape(path.name)}-{glob.escape(host)}-*"):
        number = leftover.name.rpartition("-")[2]
        if number.isdecimal() and not _alive(int(number)):
            _delete(leftover)
    partial = path.with_name(f".partial-{path.name}-{host}-{os.getpid()}")
    try:
        yield partial
    finally:
        _delete(partial)


def settle(partial: Path, path: Path) -> None:
    """Give what was made `beside` a path, and is on disk, its name there for good."""
    partial.replace(path)
    flush_folder(path.parent)


def check_free(path: Path) -> None:
    """UserError where something is that a new file or folder would replace; an empty folder is nothing."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UserError(f"{str(path)!a}: is no UTF-8; choose another --output") from None
    if not path.name:
        raise UserError(f"{path}: is no name for something new; choose another --output")
    if os.path.lexists(path) and (path.is_symlink() or not path.is_dir() or any(path.iterdir())):
        raise UserError(f"{path}: exists already; name another place with --output, or move it away")
    path.parent.mkdir(parents=True, exist_ok=True)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    """Whether another process still runs (only POSIX can tell without harming it)."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return pid != os.getpid()


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
