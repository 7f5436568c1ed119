"""The model card: what a folder's README.md tells those who find the model there."""

from pathlib import Path
from urllib.parse import urlsplit

from minigpt.config.yaml_file import write_yaml
from minigpt.runs import Run
from minigpt.storage.version import installed_version
from minigpt.training.metrics import read_metrics

SECTIONS = ("model", "tokenizer", "optimizer", "schedule", "training")
"""Of the recipe that are shown; the others say where things are on a machine."""


def card(run: Run, name: str, n_parameters: int) -> str:
    """Markdown: data, last figures, a sample, how to use it, settings; of a folder of that name."""
    config = run.config
    shape = config.model
    parts = [
        "---\nlibrary_name: transformers\npipeline_tag: text-generation\ntags:\n- minigpt\n---",
        f"# {name}",
        f"A model of {n_parameters:,} parameters: {shape.n_layers} layers, {shape.n_heads} heads, width "
        f"{shape.d_model}, context {shape.context_length}, {shape.vocab_size:,} tokens ({config.tokenizer.kind}). "
        + _origin(run),
        *_figures(run),
        "## Use\n\n```python\nfrom transformers import pipeline\n\n"
        f'write = pipeline("text-generation", model="{name}")\n'
        f'print(write({_prompt(run)!r}, max_new_tokens=100)[0]["generated_text"])\n```',
        "It continues texts, and has not learned to answer or to follow instructions. What looks like a special token "
        "in a text is text.",
    ]
    sections = SECTIONS[:2] if config.data.source is None else SECTIONS
    settings = write_yaml({section: getattr(config, section).model_dump(exclude={"init_from"}) for section in sections})
    parts.append(f"## Settings\n\n```yaml\n{settings.strip()}\n```")
    return "\n\n".join(parts) + "\n"


def _prompt(run: Run) -> str:
    """The run's prompt, or some text that its tokenizer knows."""
    known = (piece.decode(errors="ignore").strip() for piece in run.tokenizer.token_bytes)
    return run.config.sampling.prompt or next((text for text in known if text.isalpha()), "")


def _origin(run: Run) -> str:
    source = run.config.data.source
    if source is None:
        return f"It was imported into minigpt {installed_version()} and has not been trained there."
    text = source if source.startswith("hf:") else Path(urlsplit(source).path).name
    begun = run.config.training.init_from
    before = f", beginning with {Path(begun).name}" if begun else ""
    return f"Trained with minigpt {installed_version()} on {text}{before}: step {run.step:,}."


def _figures(run: Run) -> list[str]:
    """The last evaluation up to the checkpoint, and what the model wrote then."""
    lines = [line for line in read_metrics(run.folder) if line["step"] <= run.step and "validation_loss" in line]
    if not lines:
        return []
    last = lines[-1]
    figures = {
        "validation loss": f"{last['validation_loss']:.4f} nats per token",
        "perplexity": f"{last['perplexity']:.3f}",
        "bits per byte": f"{last['bits_per_byte']:.4f}",
        "tokens trained on": f"{last['tokens']:,}",
        "minutes": f"{last['seconds'] / 60:.1f}",
    }
    table = "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {figure} |" for name, figure in figures.items())])
    written = [f"What it writes:\n\n```text\n{last['sample'].strip()}\n```"] if last.get("sample") else []
    return [f"## Figures\n\n{table}", *written]
