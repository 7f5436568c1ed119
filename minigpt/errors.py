"""The errors that a user can cause: told in one line, without a traceback."""

import difflib
import re
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class UserError(Exception):
    """What went wrong, where, and what would be right; the command line prints it as one `error:` line."""

    def _render_traceback_(self) -> list[str]:
        """What Jupyter shows instead of a traceback."""
        return [f"error: {self}"]


def nearest(word: str, candidates: Iterable[str], before: str = "") -> str:
    """`"; did you mean 'x'?"` for the candidate most like `word`, or nothing where none is near.

    What stands `before` each of them is shown with it.
    """
    found = difflib.get_close_matches(word, list(candidates), n=1, cutoff=0.5)
    return f"; did you mean '{before}{found[0]}'?" if found else ""


def nearest_path(path: Path, others: Iterable[Path]) -> str:
    """The same for a path and others that lie beside it, by their names alone."""
    names = {other.name: other for other in others if other.name != path.name}
    found = difflib.get_close_matches(path.name, names, n=1)
    return f"; did you mean '{names[found[0]]}'?" if found else ""


def typed(path: Path) -> str:
    """A path as it is typed in a shell: with quotes where it needs them, and never like an option."""
    return shlex.quote(f"./{path}" if str(path).startswith("-") else str(path))


def plain(text: str) -> str:
    """In one line, and with nothing that a terminal would take for an order."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda found: repr(found[0])[1:-1], " ".join(text.split()))


def warn(text: str) -> None:
    """Tell of what is no error, in one line."""
    print(f"warning: {plain(text)}", file=sys.stderr)  # noqa: T201


@contextmanager
def needs(extra: str, what: str) -> Iterator[None]:
    """UserError that says how to install what is optional, where `what` needs it and it is not there."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UserError(f"{what} needs {error.name}; pip install 'minigpt[{extra}]'") from None


@contextmanager
def told_as_arguments() -> Iterator[None]:
    """For Python: what an error calls an option of the command line is an argument there, `--text X` is `text = X`."""
    try:
        yield
    except UserError as error:
        named = re.sub(
            r"(?:command line: )?(?<![\w./-])--([a-z]+)( (?=\S))?", lambda m: m[1] + (" = " if m[2] else ""), str(error)
        )
        raise UserError(named) from None
