"""`minigpt sweep`: search for the best hyperparameters, by one process or several."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minigpt.cli.options import OpenOption
from minigpt.cli.pages import show
from minigpt.errors import UserError, needs, typed
from minigpt.storage.writing import save_page

if TYPE_CHECKING:
    from optuna import Study

    from minigpt.experiments.sweep import Sweep


def sweep(
    search: Annotated[Path, typer.Argument(metavar="SWEEP", help="What to try, such as configs/sweeps/stories.yaml.")],
    workers: Annotated[int, typer.Option(min=1, max=1024, help="Processes that share the study and the cores.")] = 1,
    open_page: OpenOption = True,
    worker: Annotated[bool, typer.Option("--worker", hidden=True)] = False,
) -> None:
    """Search for the best hyperparameters; the same command goes on with a search that was stopped."""
    with needs("sweep", "command line: sweep"):
        import optuna  # noqa: F401
    from minigpt.experiments import sweep as sweeping
    from minigpt.experiments import sweep_page
    from minigpt.training.interruption import Interrupted

    plan = sweeping.Sweep.load(search)
    study = plan.open()
    plan.prepare(study)
    if worker:
        plan.work(study, lambda *_: None)
        return
    stopped = ""
    try:
        if workers == 1:
            plan.work(study, lambda study, _: _tell_progress(plan, study))
        else:
            _work_together(plan, study, search, workers)
    except (Interrupted, KeyboardInterrupt):
        stopped = sweeping.GO_ON
    best = plan.save_best(study)
    page = plan.folder / "sweep.html"
    save_page(page, sweep_page.sweep_page(plan, study, best, stopped), "mend that, and run the command again")
    typer.echo(sweep_page.describe(plan, study))
    typer.echo(f"history, importance and curves: {page}")
    if stopped:
        raise Interrupted(stopped)
    if best is None:
        raise UserError(f"{search}: no trial ended well; mend the reason, and choose another study.name")
    typer.echo(f"best recipe: {best}; train it with: minigpt train {typed(best)}")
    if open_page:
        show(page.absolute().as_uri())


def _work_together(plan: "Sweep", study: "Study", search: Path, workers: int) -> None:
    """Start the workers, tell how far they are, and end when they have; end them where this process is to end."""
    import torch

    threads = str(max(1, torch.get_num_threads() // workers))
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
