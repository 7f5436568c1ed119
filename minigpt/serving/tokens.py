"""The tokenize page, live: type a text, and every tokenizer's row follows."""

from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from minigpt.inspection.page import tokens_page
from minigpt.serving.loopback import application, read_json

MEANT = '{"text": TEXT}'


def make_app(cut: Callable[[str], dict[str, Any]], text: str) -> Starlette:
    """The page of a text at `/`, and at `/data` what `cut` makes of another one (`side_by_side`)."""

    async def data(request: Request) -> Response:
        asked = await read_json(request, MEANT)
        if not isinstance(asked.get("text"), str):
            raise HTTPException(400, f"the request must be {MEANT}")
        return JSONResponse(cut(asked["text"]))

    return application(lambda: tokens_page(cut(text), live=True), [Route("/data", data, methods=["POST"])])
