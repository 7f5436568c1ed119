"""`minigpt tokenize`: a text as tokens."""

import json
import os
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from minigpt.cli.options import JsonOption, OpenOption, PortOption
from minigpt.cli.pages import check_server, serve_page
from minigpt.cli.streams import read_text
from minigpt.errors import UserError
from minigpt.storage.writing import save_page

LONGEST = 1_000_000
"""Bytes of a text that a browser can still show under several tokenizers."""
EXAMPLE = "Alice gave Bob her book. It costs 12,345 yen in 東京, with a café au lait 😀"


def tokenize(
    text: Annotated[str | None, typer.Argument(help="What to cut into tokens; - reads standard input.")] = None,
    tokenizer: Annotated[
        list[str] | None,
        typer.Option(
            help="A run, stories, byte, character or a tiktoken encoding such as gpt2; may be given several times."
        ),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write a page (HTML) instead.")] = None,
    as_json: JsonOption = False,
    live: Annotated[
        bool, typer.Option("--serve", help="Serve the page on this machine: type a text, and every row follows.")
    ] = False,
    port: PortOption = 0,
    open_page: OpenOption = True,
) -> None:
    """Show a text as tokens, under several tokenizers side by side."""
    from minigpt.tokenizers import compare, find

    if live and (output or as_json):
        raise UserError("command line: --serve: leave out --output and --json, which ask for something else")
    if text is None and not live:
        raise UserError("command line: TEXT: is missing; give a text, - for standard input, or --serve to type one")
    text = EXAMPLE if text is None else read_text() if text == "-" else text
    if (live or output) and (n_bytes := len(text.encode(errors="replace"))) > LONGEST:
        raise UserError(f"command line: TEXT: has {n_bytes:,} bytes, and a page shows {LONGEST:,}; give a shorter text")
    tokenizers = [(name, find.find_tokenizer(name)) for name in tokenizer or find.usual_names(Path("runs"))]
    if live:
        check_server()
        from minigpt.serving.tokens import make_app

        serve_page(make_app(partial(compare.side_by_side, tokenizers), text), port, open_page)
        return
    sides = [compare.tokenize(text, name, tokenizer_of(text)) for name, tokenizer_of in tokenizers]
    if output is not None:
        from minigpt.inspection.page import tokens_page

        save_page(output, tokens_page({"text": text, "tokenizers": [side.as_columns() for side in sides]}))
        typer.echo(output)
    elif as_json:
        typer.echo(json.dumps({"text": text, "tokenizers": [side.as_dict() for side in sides]}))
    else:
        coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        typer.echo("\n\n".join(side.describe(coloured) for side in sides), color=coloured)
