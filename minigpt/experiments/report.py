"""`report.html`: curves, samples, settings and surroundings of a run as one page, anew at each evaluation."""

import platform
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

import torch
from markupsafe import Markup

from minigpt.config.recipe import load_recipe, to_yaml
from minigpt.experiments.budget import choose
from minigpt.experiments.charts import LOG, chart, curve, level, smoothed
from minigpt.experiments.pages import render
from minigpt.hardware.device import Engine
from minigpt.hardware.precision import choose_engine
from minigpt.runs import RunFolder
from minigpt.storage.metrics import Metrics
from minigpt.storage.version import installed_version
from minigpt.storage.writing import write_whole
from minigpt.training.corpus import Corpus
from minigpt.training.hooks import Hooks
from minigpt.training.metrics import read_metrics

REFRESH = 10
"""Seconds after which a page about a run that goes on is loaded again."""


@contextmanager
def reported(on_end: Callable[[RunFolder, Corpus], None]) -> Iterator[Hooks]:
    """Hooks that choose what is `auto` and write a run's report at each evaluation, and once more however it ends.

    That for the end of training is given.
    """
    folders: list[RunFolder] = []
    stopped = ""

    def report(folder: RunFolder, _spent: float, _loss: float) -> None:
        write_report(folder, goes_on=True)

    try:
        yield Hooks(folders.append, report, on_end, choose)
    except BaseException as error:
        stopped = str(error) or "interrupted"
        raise
    finally:
        for folder in folders:
            with suppress(OSError):  # a full disk has been told of already
                write_report(folder, stopped=stopped)


def write_report(folder: RunFolder, goes_on: bool = False, stopped: str = "") -> None:
    """Write the page from the run's config and metrics; that of one that `goes_on` loads itself again.

    `stopped` says why a run did not come to its end.
    """
    metrics = read_metrics(folder)
    samples = [line for line in metrics if "sample" in line]
    config = load_recipe(folder.config)
    html = render(
        "report.html.jinja",
        name=folder.path.name,
        refresh=REFRESH if goes_on else None,
        stopped=stopped,
        explain=folder.explain.name if folder.explain.is_file() else None,
        charts=charts(metrics),
        samples=samples,
        last=metrics[-1] if metrics else None,
        best=min((line["validation_loss"] for line in samples), default=None),
        entropy=entropy_of(metrics),
        config=to_yaml(config),
        surroundings=surroundings(choose_engine(config.run)),
    )
    write_whole(folder.report, html.encode())


def charts(metrics: list[Metrics]) -> list[Markup]:
    """The curves of a run: losses and the gap between them, learning rate, gradient, speed."""
    faint: dict[str, Any] = {
        "opacity": 0.3,
        "hoverinfo": "skip",
        "showlegend": False,
        "line": {"color": "#8a93a8", "width": 1},
    }
    loss, entropy = smoothed(metrics, "loss"), entropy_of(metrics)
    return [
        chart(
            "loss (nats per token)",
            [
                curve("training, single steps", metrics, "loss", **faint),
                curve("training", loss, "loss", line={"color": "#3457d5"}),
                curve("validation", metrics, "validation_loss", line={"color": "#d66014"}),
                *([] if entropy is None else [level("entropy", metrics, entropy)]),
            ],
            height=420,
            yaxis=LOG,
        ),
        chart(
            "validation loss minus training loss",
            [curve("gap", generalisation_gap(metrics, loss), "gap")],
            yaxis={"rangemode": "tozero"},
        ),
        chart("learning rate", [curve("learning rate", metrics, "learning_rate")]),
        chart(
            "norm of the gradient",
            [
                curve("single steps", metrics, "gradient_norm", **faint),
                curve("mean", smoothed(metrics, "gradient_norm"), "gradient_norm"),
            ],
        ),
        chart("tokens per second", [curve("speed", smoothed(metrics, "tokens_per_second"), "tokens_per_second")]),
    ]


def entropy_of(metrics: list[Metrics]) -> float | None:
    """Of the text that the run is evaluated on; None where nobody knows it, or before the first evaluation."""
    return next((line["entropy"] for line in metrics if "entropy" in line), None)


def generalisation_gap(metrics: list[Metrics], smooth_loss: list[Metrics]) -> list[Metrics]:
    """At each evaluation, how much worse the validation text is predicted than the training text (running mean)."""
    training = {line["step"]: line["loss"] for line in smooth_loss}
    return [
        {"step": line["step"], "gap": line["validation_loss"] - training[line["step"]]}
        for line in metrics
        if "validation_loss" in line and line["step"] in training
    ]


def surroundings(engine: Engine) -> dict[str, str]:
    """On what and by what a run is made: machine, versions, state of the source tree."""
    return {
        "machine": f"{platform.machine()}, {platform.system()} {platform.release()}",
        "device": engine.describe(),
        "versions": f"minigpt {installed_version()}, torch {torch.__version__}, Python {platform.python_version()}",
        "source": git_state(Path(__file__).parent),
    }


@cache
def git_state(folder: Path) -> str:
    """The commit that is checked out where `folder` is, and whether files differ from it; asked once in a process."""
    git = shutil.which("git")
    if git is None:
        return "unknown (git is not installed)"

    def ask(*words: str) -> str:
        done = subprocess.run([git, "-C", str(folder), *words], capture_output=True, text=True, check=False)  # noqa: S603
        return done.stdout.strip()

    commit = ask("rev-parse", "HEAD")
    changed = ask("status", "--porcelain", "--untracked-files=no")
    return (f"commit {commit}{', with changes' if changed else ''}") if commit else "not in a git repository"
