"""Commands that look inside: `explain`, `tokenize`, `embeddings`."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from minigpt.cli.options import CheckpointOption, JsonOption, RunArgument
from minigpt.cli.pages import show, write_page
from minigpt.errors import UserError

STAYS = "\n  (the nearest is a word of the question: the sum does not lead away from it)"


def explain(
    run: RunArgument,
    prompt: Annotated[
        str | None, typer.Option(help="The text to look inside of; otherwise the run's own prompt.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="File to write (HTML); otherwise explain.html in the run's folder.")
    ] = None,
    checkpoint: CheckpointOption = "best",
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the page where there is a desktop.")] = True,
    live: Annotated[
        bool, typer.Option("--serve", help="Serve the page on this machine: type a text, and it follows.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65_535, help="With --serve; 0 takes a free one.")] = 0,
) -> None:
    """Write a page that shows every number on the way from a text to the next word."""
    if live:
        _serve(run, "last" if checkpoint == "best" else checkpoint, prompt, port, open_page)
        return
    from minigpt.inspection import page
    from minigpt.runs import load_run

    model = load_run(run, checkpoint)
    path = output or run / "explain.html"
    write_page(path, page.explain(model, page.default_prompt(model) if prompt is None else prompt))
    typer.echo(path)
    if open_page:
        show(path.absolute().as_uri())


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

    text = sys.stdin.read() if text == "-" else text
    names = tokenizer or [*compare.newest_run(Path("runs")), "character", "byte"]
    sides = [compare.tokenize(text, name, compare.find_tokenizer(name, text)) for name in names]
    if output is not None:
        from minigpt.inspection.page import tokens_page

        write_page(output, tokens_page(text, sides))
        typer.echo(output)
        return
    if as_json:
        document = {"text": text, "tokenizers": [side.as_dict() for side in sides]}
        typer.echo(json.dumps(document, ensure_ascii=False))
        return
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    typer.echo("\n\n".join(side.describe(coloured) for side in sides), color=coloured)


def embeddings(
    run: RunArgument,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[WORD ...]", help="Words to find neighbours of.")
    ] = None,
    analogy: Annotated[
        tuple[str, str, str] | None,
        typer.Option(metavar="A B C", help="A is to B as what is to C? king man woman asks for king - man + woman."),
    ] = None,
    n: Annotated[int, typer.Option(min=1, max=1000, help="Neighbours to show.")] = 8,
    checkpoint: CheckpointOption = "best",
    as_json: JsonOption = False,
) -> None:
    """Ask a model's vectors which words are near each other."""
    if not words and analogy is None:
        raise UserError("command line: name words, such as king queen, or --analogy king man woman")
    from minigpt.inspection.embeddings import Embedding
    from minigpt.runs import load_run
    from minigpt.tokenizers.compare import visible

    embedding = Embedding.of(load_run(run, checkpoint))
    answers = {word: embedding.neighbours(embedding.token(word), n) for word in words or []}
    if analogy is not None:
        a, b, c = (embedding.token(word) for word in analogy)
        question = f"{analogy[0]} - {analogy[1]} + {analogy[2]}"
        answers[question] = embedding.analogy(a, b, c, n)
        answers[f"{question}, its own words not excluded"] = embedding.analogy(a, b, c, n, exclude=False)
    if as_json:
        document = {question: [vars(one) for one in found] for question, found in answers.items()}
        typer.echo(json.dumps(document, ensure_ascii=False))
        return
    for question, found in answers.items():
        shown = ", ".join(f"{visible((one.text.strip() or one.text).encode())} {one.cosine:.2f}" for one in found)
        stays = analogy is not None and question.endswith("excluded") and found[0].text.strip() in analogy
        typer.echo(f"{question}: {shown}{STAYS if stays else ''}")


def _serve(run: Path, checkpoint: str, prompt: str | None, port: int, open_page: bool) -> None:
    try:
        from minigpt.serving.live import serve
    except ModuleNotFoundError as error:
        raise UserError(f"command line: --serve needs {error.name}; pip install 'minigpt[serve]'") from None

    def opened(address: str) -> None:
        typer.echo(address)
        if open_page:
            show(address)

    serve(run, checkpoint, prompt, port, opened)
