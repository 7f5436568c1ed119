"""`minigpt evaluate`: how good a trained model is."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from minigpt.cli.options import CheckpointOption, DeviceOption, JsonOption, RunArgument
from minigpt.errors import UserError, needs

if TYPE_CHECKING:
    from minigpt.runs import Run


def evaluate(
    run: RunArgument,
    text: Annotated[
        str | None, typer.Option(help="Whatever data.source can be; otherwise the run's whole validation text.")
    ] = None,
    stride: Annotated[int | None, typer.Option(min=1, help="Overlap windows: score N new tokens in each.")] = None,
    tasks: Annotated[
        str | None,
        typer.Option(
            metavar="FILE.yaml,NAME,...",
            help="Run benchmarks of lm-eval: task files (they may run Python code) and names of its own tasks.",
        ),
    ] = None,
    claims: Annotated[
        bool, typer.Option("--claims", help="Measure what lessons say of language models, on the built-in stories.")
    ] = False,
    checkpoint: CheckpointOption = "best",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure a trained model: loss, perplexity, bits per byte."""
    if tasks is not None and (claims or text is not None or stride is not None):
        raise UserError("command line: --tasks brings its own texts; leave --text, --stride and --claims away")
    from minigpt.evaluation.text import assess
    from minigpt.hardware.device import choose_device
    from minigpt.runs import load_run

    loaded = load_run(run, checkpoint, choose_device(device, asked="command line: --device"))
    if tasks is not None:
        _run_tasks(loaded, [task.strip() for task in tasks.split(",")], as_json)
        return
    measured = []
    if claims:
        from minigpt.evaluation.claims import measure

        measured = measure(loaded)
    figures = assess(loaded, text, stride)
    if claims:
        figures["claims"] = [vars(claim) for claim in measured]
    if as_json:
        typer.echo(json.dumps(figures))
        return
    typer.echo(f"{figures['text']}: {figures['tokens']:,} tokens, {figures['bytes']:,} bytes (step {figures['step']})")
    typer.echo(f"loss           {figures['loss']:.4f} nats per token")
    typer.echo(f"perplexity     {figures['perplexity']:.3f}")
    typer.echo(f"bits per byte  {figures['bits_per_byte']:.4f}")
    if "entropy" in figures:
        typer.echo(f"entropy        {figures['entropy']:.4f} nats per token: the lowest loss that is possible here")
        typer.echo(f"gap            {figures['gap']:.2%} above it")
    for claim in measured:
        detail = f"; {claim.detail}" if claim.detail else ""
        typer.echo(f"{claim.share:6.1%} of {claim.n_cases:,} (chance {claim.chance:.2%}): {claim.name}{detail}")


def _run_tasks(run: "Run", tasks: list[str], as_json: bool) -> None:
    """Print the scores of benchmarks."""
    with needs("evaluation", "command line: --tasks"):
        from minigpt.evaluation.harness import HarnessModel, as_table, run_tasks
    results = run_tasks(HarnessModel(run), tasks)
    if as_json:
        kept = {key: results[key] for key in ("results", "groups", "n-shot", "n-samples", "versions") if key in results}
        typer.echo(json.dumps({"run": str(run.folder.path), "step": run.step, **kept}, default=str))
    else:
        typer.echo(f"{run.folder.path}, step {run.step}\n{as_table(results)}")
