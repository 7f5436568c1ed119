"""The commands: each parses, calls, prints. Heavy packages are imported inside, so that help comes at once."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from minigpt.errors import UserError

app = typer.Typer(
    help="Train a small GPT, sample from it, look inside, take it with you.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

CommandLineError: Any = typer.BadParameter.mro()[2]
"""What typer raises for a wrong option or argument; it exports only this descendant of it."""

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, such as runs/stories.")]
CheckpointOption = Annotated[str, typer.Option(help="best, last, or a step that was kept.")]
DeviceOption = Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:N.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


@app.command()
def train(
    recipe: Annotated[
        list[str] | None, typer.Argument(metavar="CONFIG [SECTION.KEY=VALUE ...]", help="Recipe and changes to it.")
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Go on with a run from its last checkpoint.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace the run folder if it exists.")] = False,
) -> None:
    """Train a model by a recipe (YAML), or go on with a run."""
    words = recipe or []
    if resume is not None:
        if overwrite:
            raise UserError("command line: --resume goes on with a run and --overwrite replaces it; give one of them")
        if words and "=" not in words[0]:
            raise UserError(f"command line: '{words[0]}': --resume takes the recipe from its run; leave CONFIG away")
        from minigpt.training import run

        folder, evaluation = run.resume(resume, words)
    else:
        if not words:
            raise UserError("command line: name a recipe, such as configs/stories.yaml, or a run with --resume")
        from minigpt.recipes import load_recipe

        config = load_recipe(Path(words[0]), words[1:])
        from minigpt.training import run

        folder, evaluation = run.start(config, overwrite)
    import os

    if os.environ.get("RANK", "0") == "0":
        _finish(folder.path, evaluation.loss, evaluation.bits_per_byte)


@app.command()
def sample(
    run: RunArgument,
    prompt: Annotated[str | None, typer.Option(help="Text to continue; - reads standard input.")] = None,
    prompt_file: Annotated[Path | None, typer.Option(help="File with the text to continue.")] = None,
    n_samples: Annotated[int, typer.Option(min=1, max=4096, help="Texts to write, in one batch.")] = 1,
    begin_document: Annotated[
        bool | None, typer.Option(help="Whether the prompt begins a document, or stands in the middle of one.")
    ] = None,
    max_new_tokens: Annotated[int | None, typer.Option()] = None,
    temperature: Annotated[float | None, typer.Option(help="0 always takes the most probable token.")] = None,
    top_k: Annotated[int | None, typer.Option()] = None,
    top_p: Annotated[float | None, typer.Option()] = None,
    min_p: Annotated[float | None, typer.Option()] = None,
    repetition_penalty: Annotated[float | None, typer.Option()] = None,
    stop: Annotated[list[str] | None, typer.Option(help="End a text before this; may be given several times.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=2**63 - 1, help="The same seed writes the same text.")] = None,
    checkpoint: CheckpointOption = "best",
    device: DeviceOption = "auto",
    interactive: Annotated[
        bool, typer.Option("--interactive", help="Continue one line of input after the other.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Let a trained model write."""
    from minigpt.sample import Request, Sampler

    changes = {
        "begin_document": begin_document,
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
    }
    if interactive and as_json:
        raise UserError("command line: give --interactive or --json, not both")
    if stop and not all(stop):
        raise UserError("command line: --stop must not be empty")
    sampler = Sampler(run, checkpoint, device, {key: value for key, value in changes.items() if value is not None})
    request = Request(sampler.read_prompt(prompt, prompt_file), n_samples, seed, tuple(stop or ()))
    if interactive:
        sampler.converse(request)
    elif as_json:
        typer.echo(json.dumps(sampler.as_json(request), ensure_ascii=False))
    else:
        sampler.print_samples(request)


@app.command()
def evaluate(
    run: RunArgument,
    text: Annotated[Path | None, typer.Option(help="A text file; otherwise the run's whole validation text.")] = None,
    stride: Annotated[int | None, typer.Option(min=1, help="Overlap windows: score N new tokens in each.")] = None,
    checkpoint: CheckpointOption = "best",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure a trained model: loss, perplexity, bits per byte."""
    from minigpt.assessment import assess
    from minigpt.training.devices import choose_device

    figures = assess(run, text, stride, checkpoint, choose_device(device))
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


@app.command()
def config(
    recipe: Annotated[
        list[str] | None, typer.Argument(metavar="CONFIG [SECTION.KEY=VALUE ...]", help="Recipe and changes to it.")
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON schema of recipes, for editors.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Show a whole recipe, and what training by it will cost on this machine."""
    from minigpt.recipes import json_schema, load_recipe, to_yaml

    if schema:
        typer.echo(json_schema(), nl=False)
        return
    if not recipe:
        raise UserError("command line: name a recipe, such as configs/stories.yaml")
    resolved = load_recipe(Path(recipe[0]), recipe[1:])
    from minigpt.planning import plan

    costs = plan(resolved)
    if as_json:
        typer.echo(json.dumps({"config": resolved.model_dump(), "plan": costs.as_dict()}))
    else:
        typer.echo(to_yaml(resolved))
        typer.echo(costs.describe())


def _finish(path: Path, loss: float, bits_per_byte: float) -> None:
    """Tell what came out, where it is and what to do next."""
    from minigpt.assessment import assess
    from minigpt.experiments.report import write_report
    from minigpt.recipes import load_recipe
    from minigpt.runs import RunFolder
    from minigpt.training.devices import choose_device
    from minigpt.training.metrics import read_metrics

    folder = RunFolder(path)
    write_report(folder)
    lines = read_metrics(folder.metrics)
    sample = next((line["sample"] for line in reversed(lines) if "sample" in line), "")
    typer.echo(f"\n{sample.strip()}\n")
    typer.echo(f"validation loss {loss:.4f} nats per token, {bits_per_byte:.4f} bits per byte")
    config = load_recipe(folder.config)
    if config.data.source == "stories":
        figures = assess(path, None, None, "last", choose_device(config.run.device))
        gap = f", {figures['gap']:.1%} above the entropy" if "gap" in figures else ""
        typer.echo(f"over the whole validation text {figures['loss']:.4f}{gap}")
    typer.echo(f"curves are in {path}/report.html; write more with: minigpt sample {path}")


def main() -> None:
    """Run a command; exit status 2 and one `error:` line for what a user can mend."""
    try:
        status = app(standalone_mode=False)
    except UserError as error:
        status = _fail(str(error))
    except CommandLineError as error:
        status = _fail(f"command line: {error.format_message()}")
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)  # noqa: T201
        status = 130
    except BrokenPipeError:
        status = 0
    except OSError as error:
        status = _fail(f"{error.filename or 'files'}: {error.strerror or error}; mend that, and run the command again")
    except Exception as error:
        if type(error).__name__ != "Interrupted":
            raise
        print(f"interrupted, {error}; go on with --resume", file=sys.stderr)  # noqa: T201
        status = 130
    sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)  # noqa: T201
    return 2
