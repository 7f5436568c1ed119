"""`minigpt tokenize`: a text as tokens."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from minigpt.cli.options import JsonOption
from minigpt.cli.pages import write_page
from minigpt.cli.streams import read_text


def tokenize(
    text: Annotated[str, typer.Argument(help="What to cut into tokens; - reads standard input.")],
    tokenizer: Annotated[
        list[str] | None,
        typer.Option(help="A run, byte, character or a tiktoken encoding such as gpt2; may be given several times."),
    ] = None,
    output: Annotated[Path | None, typer.Option(help="Write a page (HTML) instead.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a text as tokens, under several tokenizers side by side."""
    from minigpt.tokenizers import compare

    text = read_text() if text == "-" else text
    names = tokenizer or [*compare.newest_run(Path("runs")), "character", "byte"]
    sides = [compare.tokenize(text, name, compare.find_tokenizer(name, text)) for name in names]
    if output is not None:
        from minigpt.inspection.page import tokens_page

        write_page(output, tokens_page(text, sides))
        typer.echo(output)
        return
    if as_json:
        document = {"text": text, "tokenizers": [side.as_dict() for side in sides]}
        typer.echo(json.dumps(document))
        return
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    typer.echo("\n\n".join(side.describe(coloured) for side in sides), color=coloured)
