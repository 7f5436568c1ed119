"""`minigpt compare`: what differs between runs, and what came out."""

import json
from pathlib import Path
from typing import Annotated

import typer

from minigpt.cli.options import JsonOption, OpenOption
from minigpt.cli.pages import show
from minigpt.errors import UserError
from minigpt.storage.checksums import DamageError
from minigpt.storage.writing import save_page

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
    extrapolate: Annotated[
        Path | None, typer.Option(metavar="RECIPE", help="Predict what a larger run would reach, from three or more.")
    ] = None,
    open_page: OpenOption = True,
    as_json: JsonOption = False,
) -> None:
    """Show what differs between runs, what came out, and whether that is more than chance."""
    from minigpt.experiments import compare as comparing
    from minigpt.experiments.compare_page import compare_page

    paths = expand(runs)
    comparison = comparing.compare(paths)
    prediction = None
    if extrapolate is not None:
        from minigpt.experiments import extrapolate as extrapolating

        prediction = extrapolating.extrapolate(paths, extrapolate)
        comparison.notes.append(prediction.describe(extrapolate))
    samples, silent = _samples(paths, prompt)
    comparison.notes.extend(silent)
    if as_json:
        document = comparison.as_dict() | {"samples": dict(samples)}
        if prediction is not None:
            document["prediction"] = vars(prediction)
        typer.echo(json.dumps(document))
        return
    page = output or paths[0].parent / "compare.html"
    save_page(page, compare_page(comparison, samples))
    typer.echo(comparison.describe())
    typer.echo(f"curves and samples: {page}")
    if open_page:
        show(page.absolute().as_uri())


def expand(names: list[str]) -> list[Path]:
    """The folders that names and patterns mean, of a pattern only runs; UserError where there are none."""
    paths: list[Path] = []
    for name in names:
        if not set(name) & set("*?[") or _is_run(Path(name)):
            path = Path(name)
            if len(names) > 2 and path.exists() and not _is_run(path):  # a shell expands patterns too
                typer.echo(f"note: {path} is not a run's folder, and left out", err=True)
            else:
                paths.append(path)
            continue
        pattern = Path(name)
        try:
            found = sorted(Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))))
        except ValueError as error:
            raise UserError(f"command line: {name}: not a pattern of files ({error})") from None
        there = list(filter(_is_run, found))
        if not there:
            raise UserError(f"command line: {name}: no run's folder is called so; name runs, such as 'runs/*'")
        paths += there
    return paths


def _is_run(path: Path) -> bool:
    return (path / "config.yaml").is_file()


def _samples(paths: list[Path], prompt: str | None) -> tuple[list[tuple[str, str]], list[str]]:
    """What each run's best checkpoint writes after the same prompt with the same seed, and why some write nothing."""
    from minigpt.generation.sampler import Request, Sampler
    from minigpt.hardware.device import choose_device
    from minigpt.runs import load_run

    samples, silent = [], []
    for path in paths:
        try:
            run = load_run(path, device=choose_device("auto"))
            sampler = Sampler(run, {"max_new_tokens": SAMPLE_LENGTH})
            prompt = sampler.sampling.prompt if prompt is None else prompt
            samples.append((str(path), prompt + sampler.texts(Request(prompt, seed=0))[0]))
        except DamageError:
            raise
        except UserError as error:  # no checkpoint yet, or a prompt with characters that the model does not know
            silent.append(f"note: no sample of {path}: {error}")
    return samples, silent
