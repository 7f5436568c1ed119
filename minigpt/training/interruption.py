"""Ctrl-C and SIGTERM during training: finish the step, save, stop."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupted(Exception):  # noqa: N818 - not an error: the user asked for it
    """Training stopped because it was told to; everything is saved."""


class Interruption:
    """Remembers that somebody asked to stop."""

    def __init__(self) -> None:
        self.requested = False

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM as a request; a second one stops at once. Only a program's main thread hears them."""
        heard = threading.current_thread() is threading.main_thread()
        signals = (signal.SIGINT, signal.SIGTERM) if heard else ()
        before = [signal.signal(number, self._request) for number in signals]
        try:
            yield
        finally:
            for number, handler in zip(signals, before, strict=True):
                signal.signal(number, handler)

    def _request(self, number: int, _frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
        print(f"\n{signal.Signals(number).name}: saving after this step; once more to stop at once", file=sys.stderr)  # noqa: T201
