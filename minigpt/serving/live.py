"""The explain page, live: type a text and the page follows, also a training that goes on."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from minigpt.errors import UserError
from minigpt.hardware.device import spare_threads
from minigpt.inspection.intervene import check_parts
from minigpt.inspection.packing import weight_array
from minigpt.inspection.page import explain, page_data
from minigpt.inspection.page_data import text_data
from minigpt.runs import Run, checkpoint_step, load_run
from minigpt.serving.loopback import application, read_json

MEANT = '{"prompt": TEXT, "step": STEP, "without": [PART], "beside": TEXT, "learning": true or false}'


class LiveRun:
    """A run whose model is loaded anew as soon as training has saved a newer checkpoint."""

    def __init__(self, path: Path, checkpoint: str) -> None:
        self._path, self._checkpoint = path, checkpoint
        self._run = load_run(path, checkpoint)
        spare_threads(self._run.model.n_parameters())
        self._lock = Lock()

    @contextmanager
    def newest(self) -> Iterator[Run]:
        """The run with its newest weights; those of before where training is just replacing them.

        It is had by one thread at a time, as what a changed part does is changed in the model itself.
        """
        with self._lock:
            try:
                if checkpoint_step(self._run.folder, self._checkpoint) != self._run.step:
                    self._run = load_run(self._path, self._checkpoint)
            except UserError:
                pass
            yield self._run


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
    with live.newest() as run:
        check_parts(without, run.config.model)

    def page() -> str:
        with live.newest() as run:
            return explain(run, prompt, True, without, beside)

    def step(_request: Request) -> Response:
        with live.newest() as run:
            return JSONResponse(run.step)

    def row(request: Request) -> Response:
        with live.newest() as run:
            weights = dict(run.model.named_parameters()).get(request.path_params["name"])
        i = request.path_params["i"]
        if weights is None or weights.ndim < 2 or i >= len(weights):
            raise HTTPException(404, "there is no such row")
        return JSONResponse(weight_array(weights[i]).tolist())

    async def data(request: Request) -> Response:
        asked = await read_json(request, MEANT)
        text, known, off = asked.get("prompt"), asked.get("step"), asked.get("without", [])
        second = asked.get("beside")
        if not isinstance(text, str) or not isinstance(second, str | None):
            raise HTTPException(400, "the prompt must be a text, and so must what is beside it")
        if not isinstance(off, list) or not all(isinstance(part, str) for part in off):
            raise HTTPException(400, 'without must be a list of parts, such as ["1.1"]')

        def numbers() -> Response:
            with live.newest() as run:
                if known != run.step:
                    return JSONResponse(page_data(run, text, off, second))
                return JSONResponse(text_data(run, text, off, second, asked.get("learning") is not False))

        return await run_in_threadpool(numbers)

    routes = [Route("/step", step), Route("/row/{name}/{i:int}", row), Route("/data", data, methods=["POST"])]
    return application(page, routes)
