"""`minigpt import`: a model that somebody else has trained becomes a run."""

from pathlib import Path
from typing import Annotated

import typer

from minigpt.errors import UserError, typed


def import_model(
    source: Annotated[
        Path, typer.Argument(metavar="PATH", help="A folder of Hugging Face Transformers, or a GGUF file.")
    ],
    output: Annotated[Path, typer.Option(metavar="RUN", help="Folder of the run to make.")],
) -> None:
    """Make a run of a GPT-2, Llama, Qwen2 or Qwen3 model: sample, evaluate, explain it, or train it on."""
    from minigpt.interop.imported import write_run

    if (source / "config.yaml").is_file():
        raise UserError(f"{source}: is a run already; write with: minigpt sample {typed(source)}")
    if source.is_dir():
        from minigpt.interop.huggingface_import import read_folder

        model = read_folder(source)
    else:
        from minigpt.interop.gguf_import import read_gguf

        model = read_gguf(source)
    write_run(model, output)
    shape = model.shape
    typer.echo(
        f"{output}: {shape.n_layers} layers, {shape.n_heads} heads, width {shape.d_model}, context "
        f"{shape.context_length:,}, {shape.vocab_size:,} tokens; write with: minigpt sample {typed(output)}"
    )
