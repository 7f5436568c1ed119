"""Pages for whoever sits at this machine, and for nobody else.

They are served on the loopback interface only, to requests that name it so (another site's page cannot reach them
through a name of its own), in no frame, and no request names a file.
"""

import asyncio
import json
import socket
from collections.abc import Callable, Sequence
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from minigpt.errors import UserError
from minigpt.hardware.memory import collect_garbage
from minigpt.serving.connection import PATIENCE, Connection

LOOPBACK = "127.0.0.1"
LONGEST = 100_000
"""Bytes of a request."""
NO_FRAMES = {"Content-Security-Policy": "frame-ancestors 'none'", "X-Frame-Options": "DENY"}


def application(page: Callable[[], str], routes: Sequence[Route]) -> Starlette:
    """The page (HTML) at `/`, and the routes; HTTPException and UserError become JSON, `{"error": WORDS}`."""

    def whole(_request: Request) -> Response:
        return HTMLResponse(page(), headers=NO_FRAMES)

    return Starlette(
        routes=[Route("/", whole), *routes],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost"], www_redirect=False)],
        exception_handlers={HTTPException: _refuse, UserError: _refuse},
    )


def _refuse(_request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return JSONResponse({"error": error.detail}, error.status_code, error.headers)
    words = str(error).removeprefix("command line: ").removeprefix("--prompt: ").replace("--beside:", "the second text")
    return JSONResponse({"error": words}, 400)


async def read_json(request: Request, meant: str) -> dict[str, Any]:
    """The JSON object of a request; HTTPException where it is late, too long or not what is `meant`."""
    body, n_bytes = b"", 0
    try:
        async with asyncio.timeout(PATIENCE):
            async for part in request.stream():  # to its end: who is still sending hears no answer
                n_bytes += len(part)
                body += part if n_bytes <= LONGEST else b""
    except TimeoutError:
        raise HTTPException(408, f"the request was not there after {PATIENCE} seconds") from None
    except ClientDisconnect:
        raise HTTPException(400) from None
    if n_bytes > LONGEST:
        raise HTTPException(413, f"the text is longer than {LONGEST:,} bytes")
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError):
        asked = None
    if not isinstance(asked, dict):
        raise HTTPException(400, f"the request must be {meant}")
    return asked


def serve(app: Starlette, port: int, opened: Callable[[str], Any]) -> None:
    """Serve until interrupted; `opened` is called with the address. Port 0 takes a free one."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError as error:
            raise UserError(
                f"command line: --port {port}: cannot be listened on ({error.strerror}); try another"
            ) from None
        listener.listen()
        collect_garbage()
        opened(f"http://{LOOPBACK}:{listener.getsockname()[1]}/")
        settings = uvicorn.Config(app, http=Connection, ws="none", lifespan="off", log_level="error")
        uvicorn.Server(settings).run([listener])
