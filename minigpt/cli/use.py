"""Commands that use a model: `sample` and `evaluate`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from minigpt.cli.options import CheckpointOption, DeviceOption, JsonOption, RunArgument
from minigpt.errors import UserError


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
    from minigpt.generation.sampler import Request, Sampler

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


def evaluate(
    run: RunArgument,
    text: Annotated[Path | None, typer.Option(help="A text file; otherwise the run's whole validation text.")] = None,
    stride: Annotated[int | None, typer.Option(min=1, help="Overlap windows: score N new tokens in each.")] = None,
    claims: Annotated[
        bool, typer.Option("--claims", help="Measure what lessons say of language models, on the built-in stories.")
    ] = False,
    checkpoint: CheckpointOption = "best",
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Measure a trained model: loss, perplexity, bits per byte."""
    from minigpt.evaluation.text import assess
    from minigpt.hardware.device import choose_device
    from minigpt.runs import load_run

    loaded = load_run(run, checkpoint, choose_device(device))
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
