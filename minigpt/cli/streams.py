"""Standard streams that are there, and that take every text."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

from minigpt.errors import UserError

LARGEST = 2**24
"""Bytes of a text that is taken as a whole."""


def prepare_streams() -> None:
    """Put nothing where a stream was closed; read UTF-8, and write what an encoding lacks as its code.

    A closed stream's number would go to the next file that is opened, which then gets what is printed.
    """
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115 - to the end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8")


def typed_lines() -> Iterator[str]:
    """Line after line of standard input, asked for on a terminal, where it can be edited; UserError if not UTF-8."""
    with suppress(ModuleNotFoundError):  # of Windows, whose terminals edit lines themselves
        import readline  # noqa: F401 - from now on `input` has it
    try:
        while True:
            yield input("> " if sys.stdin.isatty() and sys.stdout.isatty() else "")
    except EOFError:
        return
    except UnicodeDecodeError:
        raise UserError("standard input: not UTF-8; give UTF-8 text") from None


def read_text(file: Path | None = None) -> str:
    """A whole text, of a file or of standard input; UserError where it is too large, or not UTF-8."""
    name = "standard input" if file is None else str(file)
    try:
        with nullcontext(sys.stdin.buffer) if file is None else file.open("rb") as stream:
            content = stream.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise UserError(f"{name}: has more than {LARGEST:,} bytes; give a shorter text")
        return content.decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{name}: cannot be read ({error.strerror}); name a text file") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{name}: not UTF-8 at byte {error.start}; convert it to UTF-8") from None
