"""`minigpt explain`: every number on the way from a text to the next word, as a page."""

from pathlib import Path
from typing import Annotated

import typer

from minigpt.cli.options import OpenOption, PortOption, RunArgument
from minigpt.cli.pages import check_server, serve_page, show
from minigpt.storage.writing import save_page


def explain(
    run: RunArgument,
    prompt: Annotated[
        str | None, typer.Option(help="The text to look inside of; otherwise the run's own prompt.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="File to write (HTML); otherwise explain.html in the run's folder.")
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            help="A part to switch off: a head (1.1), a neuron (1.neuron0), a layer's neurons (1.neurons), a layer "
            "(1); with =mean behind it (1.1=mean), it does what it does on average. Repeatable."
        ),
    ] = None,
    beside: Annotated[
        str | None, typer.Option(help="A second text: which parts make the next word another one than the first's?")
    ] = None,
    habits: Annotated[
        bool, typer.Option("--habits", help="Find out anew what heads and neurons usually do, on the validation text.")
    ] = False,
    checkpoint: Annotated[
        str | None, typer.Option(help="best, last, or a step that was kept; otherwise best, and with --serve last.")
    ] = None,
    open_page: OpenOption = True,
    live: Annotated[
        bool, typer.Option("--serve", help="Serve the page on this machine: type a text, and it follows.")
    ] = False,
    port: PortOption = 0,
) -> None:
    """Write a page that shows every number on the way from a text to the next word."""
    checkpoint = checkpoint or ("last" if live else "best")
    if habits:
        _find_habits(run, checkpoint)
    if live:
        check_server()
        from minigpt.serving.live import make_app

        app = make_app(run, checkpoint, prompt, without or [], beside)
        serve_page(app, port, open_page)
        return
    from minigpt.hardware.device import spare_threads
    from minigpt.inspection import page
    from minigpt.runs import load_run

    model, off = load_run(run, checkpoint), without or []
    spare_threads(model.model.n_parameters())
    path, text = output or model.folder.explain, page.default_prompt(model) if prompt is None else prompt
    save_page(path, page.explain(model, text, without=off, beside=beside, home=output is None))
    if off:
        from minigpt.inspection.intervene import consequences

        typer.echo("\n".join(consequences(model, text, off)))
    if beside is not None:
        from minigpt.inspection.patching import differences

        typer.echo("\n".join(differences(model, text, beside)))
    typer.echo(path)
    if open_page:
        show(path.absolute().as_uri())


def _find_habits(run: Path, checkpoint: str) -> None:
    from minigpt.evaluation.text import validation_tokens
    from minigpt.inspection.habits import keep_habits
    from minigpt.runs import load_run

    model = load_run(run, checkpoint)
    keep_habits(model, validation_tokens(model))
