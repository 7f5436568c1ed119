"""How far something has come: a bar that is drawn anew on a terminal or in a notebook, a line now and then in a log."""

import io
import sys
from typing import Any

from tqdm.auto import tqdm

SECONDS = 10.0
"""Between two lines of a log."""


class _Lines(io.TextIOBase):
    """Standard error for a bar, each drawing of which becomes a line: a log cannot be drawn over."""

    _last = ""

    def write(self, text: str) -> int:
        line = text.strip()
        if line and line != self._last:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
            self._last = line
        return len(text)


def bar(**settings: Any) -> "tqdm[Any]":
    """A bar of tqdm, with its settings, on standard error."""
    if sys.stderr.isatty() or "ipykernel" in sys.modules:
        return tqdm(dynamic_ncols=True, **settings)
    settings["delay"] = settings.get("delay") or 1e-9  # else the first line would come before there is anything to tell
    shown = tqdm(file=_Lines(), **settings | {"mininterval": SECONDS, "miniters": 0, "smoothing": 0})
    if not shown.disable:
        shown.last_print_t -= SECONDS  # and so it comes as soon as there is
    return shown


def say(text: str) -> None:
    """Write a line to standard error, above the bars that are drawn there."""
    tqdm.write(text, file=sys.stderr)
