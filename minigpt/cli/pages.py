"""Pages are written to files or served, and opened where somebody sits in front of a desktop."""

import os
import sys
import webbrowser
from typing import TYPE_CHECKING

import typer

from minigpt.errors import needs

if TYPE_CHECKING:
    from starlette.applications import Starlette


def show(address: str) -> None:
    """Open a page in the browser, where somebody sits in front of one."""
    if sys.stdout.isatty() and (sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY")):
        webbrowser.open(address)


def check_server() -> None:
    """UserError where what --serve takes is not installed."""
    with needs("serve", "command line: --serve"):
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401


def serve_page(app: "Starlette", port: int, open_page: bool) -> None:
    """Tell the address and serve there until interrupted."""
    from minigpt.serving.loopback import serve

    def opened(address: str) -> None:
        typer.echo(address)
        if open_page:
            show(address)

    serve(app, port, opened)
