"""Commands about several runs: `compare`, and `sweep`, which also makes them."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minigpt.cli.options import JsonOption
from minigpt.cli.pages import show, write_page
from minigpt.errors import UserError

if TYPE_CHECKING:
    from optuna import Study

    from minigpt.experiments.sweep import Sweep

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
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the page where there is a desktop.")] = True,
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
    samples = _samples(paths, prompt)
    if as_json:
        document = comparison.as_dict() | {"samples": dict(samples)}
        if prediction is not None:
            document["prediction"] = vars(prediction)
        typer.echo(json.dumps(document, ensure_ascii=False))
        return
    page = output or paths[0].parent / "compare.html"
    write_page(page, compare_page(comparison, samples))
    typer.echo(comparison.describe())
    typer.echo(f"curves and samples: {page}")
    if open_page:
        show(page.absolute().as_uri())


def sweep(
    search: Annotated[Path, typer.Argument(metavar="SWEEP", help="What to try, such as configs/sweeps/stories.yaml.")],
    workers: Annotated[int, typer.Option(min=1, max=1024, help="Processes that share the study and the cores.")] = 1,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the page where there is a desktop.")] = True,
    worker: Annotated[bool, typer.Option("--worker", hidden=True)] = False,
) -> None:
    """Search for the best hyperparameters; the same command goes on with a search that was stopped."""
    try:
        import optuna  # noqa: F401
    except ModuleNotFoundError as error:
        raise UserError(f"command line: sweep needs {error.name}; pip install 'minigpt[sweep]'") from None
    from minigpt.experiments import sweep as sweeping
    from minigpt.experiments import sweep_page

    plan = sweeping.Sweep.load(search)
    study = plan.open()
    plan.prepare(study)
    if worker:
        plan.work(study, lambda *_: None)
        return
    if workers == 1:
        plan.work(study, lambda study, _: _tell_progress(plan, study))
    else:
        _work_together(plan, study, search, workers)
    best = plan.save_best(study)
    page = plan.folder / "sweep.html"
    write_page(page, sweep_page.sweep_page(plan, study, best))
    typer.echo(sweep_page.describe(plan, study))
    typer.echo(f"history, importance and curves: {page}")
    if best is None:
        raise UserError(f"{search}: no trial ended well; mend the reason, and choose another study.name")
    typer.echo(f"best recipe: {best}; train it with: minigpt train {best}")
    if open_page:
        show(page.absolute().as_uri())


def _work_together(plan: "Sweep", study: "Study", search: Path, workers: int) -> None:
    """Start the workers, tell how far they are, and end when they have; end them where this process is to end."""
    from minigpt.experiments.sweep import GO_ON
    from minigpt.training.interruption import Interrupted

    threads = str(max(1, (os.cpu_count() or 1) // workers))
    command = [sys.executable, "-m", "minigpt", "sweep", str(search), "--worker"]
    logs = [plan.folder / f"worker-{i + 1}.log" for i in range(workers)]
    processes = []
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    told = -1
    try:
        for log in logs:
            with log.open("a", encoding="utf-8") as output:
                environment = {**os.environ, "OMP_NUM_THREADS": threads}
                started = subprocess.Popen(  # noqa: S603
                    command, stdout=output, stderr=output, env=environment, start_new_session=True
                )
                processes.append(started)
        while any(process.poll() is None for process in processes):
            time.sleep(1.0)
            ended = sum(trial.state.is_finished() for trial in study.get_trials(deepcopy=False))
            if ended != told:
                told = ended
                _tell_progress(plan, study)
    except KeyboardInterrupt:
        raise Interrupted(GO_ON) from None
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
    for process, log in zip(processes, logs, strict=True):
        if process.returncode:
            typer.echo(f"warning: a worker ended with status {process.returncode}; see {log}", err=True)


def _tell_progress(plan: "Sweep", study: "Study") -> None:
    from minigpt.experiments.sweep import counted

    trials = counted(study)
    ended = [trial for trial in trials if trial.state.is_finished()]
    losses = [trial.value for trial in ended if trial.value is not None and trial.state.name == "COMPLETE"]
    of = f" of {plan.limit()}" if plan.limit() else ""
    best = f", best loss {min(losses):.4f}" if losses else ""
    typer.echo(f"sweep: {len(ended)}{of} trials ended{best}", err=True)


def expand(names: list[str]) -> list[Path]:
    """The folders that names and patterns mean, of a pattern only runs; UserError where there are none."""
    paths: list[Path] = []
    for name in names:
        if not set(name) & set("*?["):
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
            raise UserError(f"command line: {name}: no run's folder is called so")
        paths += there
    return paths


def _is_run(path: Path) -> bool:
    return (path / "config.yaml").is_file()


def _samples(paths: list[Path], prompt: str | None) -> list[tuple[str, str]]:
    """What each run's best checkpoint writes after the same prompt with the same seed."""
    from minigpt.generation.sampler import Request, Sampler

    samples = []
    for path in paths:
        try:
            sampler = Sampler(path, "best", "auto", {"max_new_tokens": SAMPLE_LENGTH})
            prompt = sampler.sampling.prompt if prompt is None else prompt
            text = prompt + sampler.texts(Request(prompt, seed=0), write=False)[0]
        except UserError as error:  # no checkpoint yet, or a prompt with characters that the model does not know
            text = f"({error})"
        samples.append((str(path), text))
    return samples
