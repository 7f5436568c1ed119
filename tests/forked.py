"""Commands in forks of this process, to which something happens at a moment, or before one of their file operations.

A fork has torch already: a command takes as long as its work.
"""

import errno
import itertools
import os
import resource
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import minigpt.training.run  # noqa: F401 - and with it what takes a second to import
from minigpt import cli

ALL = "MINIGPT_FAULTS" in os.environ
"""Whether faults are tried at every place, as `make faults` does, instead of at some."""
OPERATIONS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}
NEEDS_ROOM = {"open", "os.mkdir"}
WRITING = os.O_WRONLY | os.O_RDWR
Happening = Callable[[str, bool], None]
"""What happens at an operation, by its name, and whether it is the one that was named or one after it."""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    output: str
    errors: str
    n_operations: int
    """That it came to."""
    seconds: float
    """Of the processor."""


@dataclass(frozen=True)
class Running:
    """A command in a fork."""

    pid: int
    output: BinaryIO
    errors: BinaryIO
    operations: BinaryIO
    """A byte for each."""

    def runs(self) -> bool:
        """Whether it has not ended by itself."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def end(self) -> Done:
        """Wait for its end."""
        pipes = self.output, self.errors, self.operations
        with ThreadPoolExecutor() as readers:
            output, errors, operations = readers.map(lambda pipe: pipe.read(), pipes)
        for pipe in pipes:
            pipe.close()
        _, status, usage = os.wait4(self.pid, 0)
        texts = output.decode(errors="replace"), errors.decode(errors="replace")
        return Done(os.waitstatus_to_exitcode(status), *texts, len(operations), usage.ru_utime + usage.ru_stime)


def sends(number: signal.Signals) -> Happening:
    """The process gets a signal."""

    def send(_event: str, first: bool) -> None:
        if first:
            os.kill(os.getpid(), number)

    return send


def fill_disk(event: str, _first: bool) -> None:
    """From here on, the disk has no room."""
    if event in NEEDS_ROOM:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def nothing(*_: object) -> None:
    """Let it go on."""


def started(
    *command: object,
    cwd: Path,
    before: Callable[[], object] = nothing,
    at: int = 0,
    happening: Happening = nothing,
    largest_file: int | None = None,
    killed_after: float = 0.0,
) -> Running:
    """Start a command in a fork, to which something `happening` happens at its file operation of number `at`.

    What it does first may be to patch, in the fork alone, what is to happen at another moment.

    No file may grow beyond `largest_file` bytes, as on a disk that fills up while it is written. After `killed_after`
    seconds of the processor, where there are any, it is killed.
    """
    pipes = [os.pipe() for _ in range(3)]  # output, errors, a byte for each operation
    child = os.fork()
    if child == 0:
        status = 1
        try:
            for number, (_, end) in zip((1, 2), pipes, strict=False):
                os.dup2(end, number)
            os.chdir(cwd)
            signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process as SIGKILL does
            signal.setitimer(signal.ITIMER_PROF, killed_after)
            before()
            status = _command(list(map(str, command)), at, happening, largest_file, pipes[2][1])
        finally:
            os._exit(status)
    for _, end in pipes:
        os.close(end)
    return Running(child, *(os.fdopen(start, "rb") for start, _ in pipes))


def forked(*command: object, cwd: Path, **options: Any) -> Done:
    """Run a command in a fork, started with these options, to its end."""
    return started(*command, cwd=cwd, **options).end()


def _command(words: list[str], at: int, happening: Happening, largest_file: int | None, count: int) -> int:
    sys.stdin, sys.stdout, sys.stderr = open(os.devnull), os.fdopen(1, "w"), os.fdopen(2, "w")  # noqa: SIM115
    numbers = itertools.count()

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        if writes(event, arguments):
            os.write(count, b".")
            number = next(numbers)
            if number >= at:
                happening(event, number == at)

    signal.signal(signal.SIGINT, signal.default_int_handler)
    if largest_file is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    sys.addaudithook(audit)
    sys.argv = ["minigpt", *words]
    try:
        cli.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    except BaseException:
        sys.excepthook(*sys.exc_info())  # type: ignore[arg-type]
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def writes(event: str, arguments: tuple[object, ...]) -> bool:
    """Whether an audit event is an operation that changes files."""
    if event == "open":
        path, _, flags = arguments
        return isinstance(flags, int) and bool(flags & WRITING) and not str(path).startswith("/dev")
    return event in OPERATIONS
