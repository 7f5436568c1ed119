"""`minigpt export`: take a trained model to the tools that everybody else runs."""

from pathlib import Path
from typing import Annotated

import typer

from minigpt.cli.options import CheckpointOption, RunArgument
from minigpt.errors import typed


def export(
    run: RunArgument,
    output: Annotated[Path, typer.Option(help="Folder (huggingface) or file (gguf) to write.")],
    format: Annotated[  # noqa: A002
        str | None, typer.Option(help="huggingface or gguf; without it as the output's name ends.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="Of the weights: f32 or f16, in a GGUF file also q8_0.", show_default="f32")
    ] = None,
    checkpoint: CheckpointOption = "best",
) -> None:
    """Write a trained model for Hugging Face Transformers (a folder) or llama.cpp (a GGUF file)."""
    from minigpt.interop.export import check_format, export_run
    from minigpt.runs import load_run

    format = format or ("gguf" if output.suffix == ".gguf" else "huggingface")  # noqa: A001
    dtype = check_format(format, dtype)
    loaded = load_run(run, checkpoint)
    export_run(loaded, output, format, dtype)
    n_bytes = sum(path.stat().st_size for path in (output.iterdir() if output.is_dir() else [output]))
    use = "llama-cli -m {}" if format == "gguf" else "AutoModelForCausalLM.from_pretrained({!r})"
    place = str(output) if format == "huggingface" else typed(output)
    typer.echo(f"{output}: {format}, {dtype}, {n_bytes / 1e6:,.1f} MB, step {loaded.step}; {use.format(place)}")
