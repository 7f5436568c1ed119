"""Commands about several runs: `compare`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from minigpt.cli.options import JsonOption
from minigpt.cli.pages import show, write_page
from minigpt.errors import UserError

SAMPLE_LENGTH = 100
"""Tokens of each run's sample."""


def compare(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN RUN ...", help="Folders of runs; patterns such as 'runs/*'.")
    ],
    prompt: Annotated[str | None, typer.Option(help="What each run is to continue; otherwise the first run's.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="File to write (HTML); otherwise compare.html beside the first run.")
    ] = None,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the page where there is a desktop.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Show what differs between runs, what came out, and whether that is more than chance."""
    from minigpt.experiments import compare as comparing

    paths = expand(runs)
    comparison = comparing.compare(paths)
    samples = _samples(paths, prompt)
    if as_json:
        typer.echo(json.dumps(comparison.as_dict() | {"samples": dict(samples)}, ensure_ascii=False))
        return
    page = output or paths[0].parent / "compare.html"
    write_page(page, comparing.compare_page(comparison, samples))
    typer.echo(comparison.describe())
    typer.echo(f"curves and samples: {page}")
    if open_page:
        show(page.absolute().as_uri())


def expand(names: list[str]) -> list[Path]:
    """The folders that names and patterns mean, of a pattern only runs; UserError where there are none."""
    paths: list[Path] = []
    for name in names:
        if not set(name) & set("*?["):
            paths.append(Path(name))
            continue
        pattern = Path(name)
        found = sorted(Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))))
        there = [path for path in found if (path / "config.yaml").is_file()]
        if not there:
            raise UserError(f"command line: {name}: no run's folder is called so")
        paths += there
    return paths


def _samples(paths: list[Path], prompt: str | None) -> list[tuple[str, str]]:
    """What each run's best checkpoint writes after the same prompt with the same seed."""
    from minigpt.sample import Request, Sampler

    samples = []
    for path in paths:
        sampler = Sampler(path, "best", "auto", {"max_new_tokens": SAMPLE_LENGTH})
        prompt = sampler.sampling.prompt if prompt is None else prompt
        try:
            text = prompt + sampler.texts(Request(prompt, seed=0), write=False)[0]
        except UserError as error:
            text = f"({error})"
        samples.append((str(path), text))
    return samples
