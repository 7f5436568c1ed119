"""`minigpt train`: make a model by a recipe, go on with a run, or try a recipe out."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minigpt.cli.options import RecipeArgument
from minigpt.errors import UserError, typed
from minigpt.storage.writing import save_page

if TYPE_CHECKING:
    from minigpt.config.hyperparameters import Config
    from minigpt.runs import RunFolder
    from minigpt.training.corpus import Corpus


def train(
    recipe: RecipeArgument = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Go on with a run from its last checkpoint.")
    ] = None,
    checkpoint: Annotated[str, typer.Option(help="With --resume: last, best or a step whose state was kept.")] = "last",
    overwrite: Annotated[bool, typer.Option(help="Replace the run folder if it exists.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Two steps and one evaluation; writes nothing.")] = False,
    find_lr: Annotated[
        bool, typer.Option("--find-lr", help="Raise the learning rate until the loss rises, and suggest one.")
    ] = False,
) -> None:
    """Train a model by a recipe (YAML), or go on with a run."""
    words = recipe or []
    if resume is not None:
        if dry_run or find_lr:
            raise UserError("command line: --dry-run and --find-lr try a recipe out; leave --resume away")
        if overwrite:
            raise UserError("command line: --resume goes on with a run and --overwrite replaces it; give one of them")
        if words and "=" not in words[0]:
            raise UserError(f"command line: '{words[0]}': --resume takes the recipe from its run; leave CONFIG away")
    elif not words:
        raise UserError("command line: name a recipe, such as configs/stories.yaml, or a run with --resume")
    else:
        from minigpt.config.recipe import load_recipe

        config = load_recipe(Path(words[0]), words[1:])
        if dry_run or find_lr:
            _rehearse(config, find_lr)
            return
    from minigpt.experiments.report import reported
    from minigpt.training import run
    from minigpt.training.distributed import is_first

    with reported(_find_habits) as hooks:
        folder, evaluation = (
            run.start(config, overwrite, hooks) if resume is None else run.resume(resume, words, hooks, checkpoint)
        )
    if is_first():
        _finish(folder.path, evaluation.loss, evaluation.bits_per_byte)


def _rehearse(config: "Config", find_lr: bool) -> None:
    """Try a recipe out, and say what came out."""
    from minigpt.experiments.budget import choose
    from minigpt.training import rehearsal

    config = choose(config)
    if not find_lr:
        evaluation = rehearsal.dry_run(config)
        typer.echo(f"dry run: two steps, one evaluation (loss {evaluation.loss:.4f}); nothing was written")
        return
    from minigpt.experiments.rate_page import rate_page
    from minigpt.training.interruption import Interrupted

    test = rehearsal.find_learning_rate(config)
    findings = test.findings()
    if test.suggestion:
        share = test.suggestion / config.optimizer.learning_rate
        rates = {"optimizer.learning_rate": test.suggestion}
        if config.optimizer.name == "muon":
            rates["optimizer.adamw_learning_rate"] = share * config.optimizer.adamw_learning_rate
        words = " ".join(f"{key}={rate:.2g}" for key, rate in rates.items())
        findings.append(
            f"{rehearsal.DONE:.0%} of the fall was done at {words}: a good rate to begin with (dotted in the picture)"
        )
    path = Path("runs") / f"{config.run.name}-learning-rates.html"
    path.parent.mkdir(exist_ok=True)
    save_page(path, rate_page(config.run.name, test, findings), "mend that, and run the command again")
    typer.echo("\n".join(findings))
    typer.echo(f"losses at all rates: {path}")
    if test.stopped:
        raise Interrupted("the picture has what was tried")


def _find_habits(folder: "RunFolder", corpus: "Corpus") -> None:
    from minigpt.inspection.habits import keep_habits
    from minigpt.runs import load_run

    typer.echo(f"inside   what heads and neurons do, for {folder.explain}", err=True)
    keep_habits(load_run(folder.path, "last"), corpus.validation)


def _finish(path: Path, loss: float, bits_per_byte: float) -> None:
    """Tell what came out, where it is and what to do next."""
    from minigpt.evaluation.text import assess
    from minigpt.experiments.report import write_report
    from minigpt.hardware.device import choose_device
    from minigpt.inspection import page
    from minigpt.runs import load_run
    from minigpt.training.metrics import read_metrics

    run = load_run(path, "last")
    run.model.to(choose_device(run.config.run.device))
    remedy = f"mend that, and write it with: minigpt explain {typed(path)}"
    save_page(run.folder.explain, page.explain(run, None, home=True), remedy)
    write_report(run.folder)  # again, now that it has something to link to
    lines = read_metrics(run.folder)
    sample = next((line["sample"] for line in reversed(lines) if "sample" in line), "")
    typer.echo(f"\n{sample.strip()}\n")
    typer.echo(f"validation loss {loss:.4f} nats per token, {bits_per_byte:.4f} bits per byte")
    if run.config.data.source == "stories":
        figures = assess(run)
        gap = f", {figures['gap']:.1%} above the entropy" if "gap" in figures else ""
        typer.echo(f"over the whole validation text {figures['loss']:.4f}{gap}")
    typer.echo(f"curves are in {run.folder.report}, the model's inside in {run.folder.explain}")
    typer.echo(f"write more with: minigpt sample {typed(path)}")
