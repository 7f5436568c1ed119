"""`minigpt sample`: let a trained model write."""

import json
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from minigpt.cli.options import CheckpointOption, DeviceOption, JsonOption, RunArgument
from minigpt.cli.streams import read_text, typed_lines
from minigpt.errors import UserError, plain

if TYPE_CHECKING:
    from minigpt.generation.sampler import Request, Sampler


def sample(
    run: RunArgument,
    prompt: Annotated[str | None, typer.Option(help="Text to continue; - reads standard input.")] = None,
    prompt_file: Annotated[Path | None, typer.Option(help="File with the text to continue.")] = None,
    n_samples: Annotated[int, typer.Option(min=1, max=4096, help="Texts to write, in one batch.")] = 1,
    begin_document: Annotated[
        bool | None, typer.Option(help="Whether the prompt begins a document, or stands in the middle of one.")
    ] = None,
    max_new_tokens: Annotated[int | None, typer.Option(help="Tokens to write, at most.")] = None,
    temperature: Annotated[float | None, typer.Option(help="0 always takes the most probable token.")] = None,
    top_k: Annotated[int | None, typer.Option(help="Choose among so many likeliest tokens.")] = None,
    top_p: Annotated[
        float | None, typer.Option(help="Choose among the likeliest that have this share together.")
    ] = None,
    min_p: Annotated[
        float | None, typer.Option(help="Choose among those that are at least so likely, as a share of the likeliest.")
    ] = None,
    repetition_penalty: Annotated[
        float | None, typer.Option(help="Above 1 what has been written becomes less likely.")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="int8, bfloat16 or float32; without it as the recipe says, or else the fastest.")
    ] = None,
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
    from minigpt.hardware.device import choose_device
    from minigpt.runs import load_run

    changes = {
        "begin_document": begin_document,
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
        "precision": precision,
    }
    if interactive and as_json:
        raise UserError("command line: give --interactive or --json, not both")
    if stop and not all(stop):
        raise UserError("command line: --stop must not be empty")
    if prompt is not None and prompt_file is not None:
        raise UserError("command line: give --prompt or --prompt-file, not both")
    loaded = load_run(run, checkpoint, choose_device(device, asked="command line: --device"))
    sampler = Sampler(loaded, {key: value for key, value in changes.items() if value is not None})
    if prompt == "-" or prompt_file is not None:
        prompt = read_text(prompt_file)
    given = [] if prompt is None else [prompt]
    request = Request(sampler.sampling.prompt if prompt is None else prompt, n_samples, seed, tuple(stop or ()))
    if interactive:
        typer.echo(f"{run}, step {loaded.step}: a line to continue, Ctrl-C ends a text, Ctrl-D everything", err=True)
        for line in chain(given, typed_lines()):
            try:
                _write(sampler, replace(request, prompt=line))
            except UserError as error:
                typer.echo(f"error: {plain(str(error))}", err=True)
            except KeyboardInterrupt:
                typer.echo()  # that text ends, and no more
    elif as_json:
        typer.echo(json.dumps(sampler.as_json(request)))
    else:
        _write(sampler, request)


def _write(sampler: "Sampler", request: "Request") -> None:
    """Print every text with its prompt; a single one as it comes."""
    if request.n_samples == 1:
        pieces = sampler.pieces(request)  # refuses a prompt before any of it is shown
        for text in chain([request.prompt], (text for _, text in pieces), ["\n"]):
            print(text, end="", flush=True)  # noqa: T201
        return
    for number, text in enumerate(sampler.texts(request), 1):
        typer.echo(f"--- {number}\n{request.prompt}{text}")
