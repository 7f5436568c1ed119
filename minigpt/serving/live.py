"""The explain page, live: type a text and the page follows; for whoever sits at this machine, and for nobody else.

It listens on the loopback interface only, answers only to requests that name it so (another site's page cannot reach it
through a name of its own), and no request names a file.
"""

import asyncio
import json
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from minigpt.errors import UserError
from minigpt.inspection.intervene import check_parts
from minigpt.inspection.packing import weight_array
from minigpt.inspection.page import default_prompt, explain, page_data
from minigpt.inspection.page_data import text_data
from minigpt.runs import Run, checkpoint_step, load_run

LOOPBACK = "127.0.0.1"
LONGEST = 100_000
"""Bytes of a request."""
NO_FRAMES = {"Content-Security-Policy": "frame-ancestors 'none'", "X-Frame-Options": "DENY"}
PATIENCE = 30
"""Seconds in which a request has to come, and then its body."""


class LiveRun:
    """A run whose model is loaded anew as soon as training has saved a newer checkpoint."""

    def __init__(self, path: Path, checkpoint: str) -> None:
        self._path, self._checkpoint = path, checkpoint
        self._run = load_run(path, checkpoint)
        self._lock = Lock()

    def newest(self) -> Run:
        """The run with its newest weights; those of before where training is just replacing them."""
        with self._lock:
            try:
                if checkpoint_step(self._run.folder, self._checkpoint) != self._run.step:
                    self._run = load_run(self._path, self._checkpoint)
            except UserError:
                pass
            return self._run


def make_app(
    path: Path, checkpoint: str, prompt: str | None, without: Sequence[str] = (), beside: str | None = None
) -> Starlette:
    """The page at `/`, its numbers for another text at `/data`, the step of the newest checkpoint at `/step`.

    `/row/NAME/I` is a row of a matrix of the model, for pages that have no room for all of it.

    Who already has the numbers of a step's model, and says so, is spared them. A request may name parts of the model
    to switch off and a second text, as `without` and `beside` do for the page, and do without the step of learning,
    which takes longest.
    """
    live = LiveRun(path, checkpoint)
    check_parts(without, live.newest().config.model)

    def page(_request: Request) -> Response:
        run = live.newest()
        html = explain(run, default_prompt(run) if prompt is None else prompt, True, without, beside)
        return HTMLResponse(html, headers=NO_FRAMES)

    def step(_request: Request) -> Response:
        return JSONResponse(live.newest().step)

    def row(request: Request) -> Response:
        weights = dict(live.newest().model.named_parameters()).get(request.path_params["name"])
        i = request.path_params["i"]
        if weights is None or weights.ndim < 2 or i >= len(weights):
            return JSONResponse({"error": "there is no such row"}, 404)
        return JSONResponse(weight_array(weights[i]).tolist())

    async def data(request: Request) -> Response:
        body, n_bytes = b"", 0
        try:
            async with asyncio.timeout(PATIENCE):
                async for part in request.stream():  # to its end: who is still sending hears no answer
                    n_bytes += len(part)
                    body += part if n_bytes <= LONGEST else b""
        except TimeoutError:
            return JSONResponse({"error": f"the request was not there after {PATIENCE} seconds"}, 408)
        except ClientDisconnect:
            return Response(status_code=400)
        if n_bytes > LONGEST:
            return JSONResponse({"error": f"the text is longer than {LONGEST:,} bytes"}, 413)
        try:
            asked = json.loads(body)
            prompt, known, off = asked["prompt"], asked.get("step"), asked.get("without", [])
            second, learning = asked.get("beside"), asked.get("learning") is not False
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return JSONResponse({"error": 'the request must be {"prompt": TEXT, "without": [PART]}'}, 400)
        if not isinstance(prompt, str) or not isinstance(second, str | None):
            return JSONResponse({"error": "the prompt must be a text, and so must what is beside it"}, 400)
        if not isinstance(off, list) or not all(isinstance(part, str) for part in off):
            return JSONResponse({"error": 'without must be a list of parts, such as ["1.1"]'}, 400)
        run = live.newest()
        try:
            return JSONResponse(
                text_data(run, prompt, off, second, learning)
                if known == run.step
                else page_data(run, prompt, off, second)
            )
        except UserError as error:
            words = str(error).removeprefix("command line: ").removeprefix("--prompt: ")
            return JSONResponse({"error": words.replace("--beside:", "the second sentence")}, 400)

    return Starlette(
        routes=[
            Route("/", page),
            Route("/step", step),
            Route("/row/{name}/{i:int}", row),
            Route("/data", data, methods=["POST"]),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[LOOPBACK, "localhost"], www_redirect=False)],
    )


def serve(
    path: Path,
    checkpoint: str,
    prompt: str | None,
    without: Sequence[str],
    port: int,
    opened: Callable[[str], Any],
    beside: str | None = None,
) -> None:
    """Serve until interrupted; `opened` is called with the address. Port 0 takes a free one."""
    import uvicorn

    from minigpt.serving.connection import Connection

    app = make_app(path, checkpoint, prompt, without, beside)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((LOOPBACK, port))
        except OSError as error:
            raise UserError(
                f"command line: --port {port}: cannot be listened on ({error.strerror}); try another"
            ) from None
        listener.listen()
        opened(f"http://{LOOPBACK}:{listener.getsockname()[1]}/")
        settings = uvicorn.Config(app, http=Connection, ws="none", lifespan="off", log_level="error")
        uvicorn.Server(settings).run([listener])
