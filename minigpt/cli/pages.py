"""Pages are written to files and opened where somebody sits in front of a desktop."""

import os
import sys
import webbrowser
from pathlib import Path

from minigpt.errors import UserError
from minigpt.storage.writing import write_whole


def write_page(path: Path, page: str, remedy: str = "choose another --output") -> None:
    """Write HTML to a file; UserError with the remedy where the place does not allow it."""
    try:
        write_whole(path, page.encode())
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); {remedy}") from None


def show(address: str) -> None:
    """Open a page in the browser, where somebody sits in front of one."""
    if sys.stdout.isatty() and (sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY")):
        webbrowser.open(address)
