"""`minigpt explain`: everything that `trace` finds out about one text, as one page that needs nothing else."""

import importlib.resources
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from minigpt.config.hyperparameters import SamplingConfig
from minigpt.generation.generate import generate
from minigpt.inspection.page_data import model_data, text_data
from minigpt.inspection.tour import tour_data
from minigpt.inspection.worked_example import worked_example
from minigpt.model.gpt import GPT
from minigpt.runs import Run

DEFAULT_LENGTH = 24
"""Tokens that are looked at where no text was given."""
SCRIPTS = (
    "numbers",
    "elements",
    "sums",
    "panel",
    "way",
    "text",
    "attention",
    "terms",
    "answer",
    "habits",
    "origin",
    "switches",
    "beside",
    "learning",
    "start",
    "live",
    "tour",
)
"""The parts of the explain page's program, in their order."""


def explain(
    run: Run,
    prompt: str | None,
    live: bool = False,
    without: Sequence[str] = (),
    beside: str | None = None,
    home: bool = False,
) -> str:
    """The page (HTML) of a prompt, or of the run's own; UserError where that is longer than the context or not encoded.

    A `live` one has a field for another text, whose numbers it asks the server for that it came from. It opens with
    those parts of the model changed that `without` names (`intervene.py`), and with a second text `beside` the first.
    One that is written to its `home`, the run's folder, leads to the report there.
    """
    prompt = default_prompt(run) if prompt is None else prompt
    return _render(
        "explain/page.html.jinja",
        name=run.folder.path.name,
        prompt=prompt,
        beside=beside,
        script=Markup("\n".join(_template(f"explain/{name}.js") for name in SCRIPTS)),  # noqa: S704 - our own files
        data=_embedded(page_data(run, prompt, without, beside)),
        model=run.config.model,
        sampling=run.config.sampling,
        step=run.step,
        live=live,
        report=home and run.folder.report.exists(),
        parts=list(matrices(run.model)),
        example=worked_example(),
    )


def page_data(run: Run, prompt: str, without: Sequence[str] = (), beside: str | None = None) -> dict[str, Any]:
    """All numbers of the page."""
    return model_data(run) | {"tour": tour_data(run)} | text_data(run, prompt, without, beside)


def tokens_page(data: Mapping[str, Any], live: bool = False) -> str:
    """A page (HTML) of one text under several tokenizers (`side_by_side`), in a `live` one with a field for others."""
    style, script = (Markup(_template(f"tokenize/{name}")) for name in ("style.css", "script.js"))  # noqa: S704 - ours
    return _render("tokenize/page.html.jinja", own_style=style, script=script, data=_embedded(data), live=live)


def default_prompt(run: Run) -> str:
    """What to look inside of where nothing was asked for: the run's prompt, or else something of its corpus."""
    prompt = run.config.sampling.prompt
    if not prompt and run.config.data.source == "stories":
        prompt = "Alice gave Bob"
    ids = run.tokenizer.encode(prompt).tolist()
    if not ids:
        begin, end = run.tokenizer.encode_prompt("", True), run.tokenizer.end_of_text
        written = generate(run.model, begin, SamplingConfig(max_new_tokens=DEFAULT_LENGTH), end_of_text=end, seed=0)
        ids = [int(step.token_ids) for step in written]
    text = run.tokenizer.decode(ids[: (limit := min(DEFAULT_LENGTH, run.config.model.context_length - 1))])
    while len(run.tokenizer.encode(text)) > limit:  # bytes that are no character become longer in text
        text = text[:-1]
    return text


def _render(template: str, **values: object) -> str:
    style = Markup(_template("explain/style.css"))  # noqa: S704 - our own file
    return Environment(autoescape=True).from_string(_template(template)).render(style=style, **values)


def _embedded(data: Mapping[str, Any]) -> Markup:
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704 - no text can end the element that it stands in


def _template(name: str) -> str:
    return (importlib.resources.files("minigpt.inspection") / "templates" / name).read_text(encoding="utf-8")


WORDS = {
    "token_embedding": "embedding",
    "position_embedding": "positions",
    "attention_norm": "gains before attention",
    "attention.q_proj": "queries",
    "attention.k_proj": "keys",
    "attention.v_proj": "values",
    "attention.o_proj": "output of attention",
    "attention.q_norm": "gains of queries",
    "attention.k_norm": "gains of keys",
    "feed_forward_norm": "gains before the neurons",
    "feed_forward.gate_proj": "gates of the neurons",
    "feed_forward.up_proj": "into the neurons",
    "feed_forward.down_proj": "out of the neurons",
    "final_norm": "gains at the end",
    "lm_head": "output",
}
"""What people call the tensors of a model."""


def matrices(model: GPT) -> Iterator[dict[str, Any]]:
    """Names, shape, parameters and operations per token of every tensor, those of all blocks together."""
    config, seen = model.config, dict[str, dict[str, Any]]()
    for name, parameter in model.named_parameters():
        short = name.removesuffix(".weight")
        if short.startswith("blocks."):
            short = short.split(".", 2)[2]
        both = " and output" if name == "token_embedding.weight" and config.tie_embeddings else ""
        words = WORDS[short.removesuffix(".bias")] + both + (", biases" if short.endswith(".bias") else "")
        row = seen.setdefault(
            short, {"name": short, "words": words, "shape": " × ".join(map(str, parameter.shape)), "n": 0, "flops": 0}
        )
        row["n"] += parameter.numel()
        multiplied = parameter.ndim == 2 and (name != "token_embedding.weight" or config.tie_embeddings)
        row["flops"] += 2 * parameter.numel() if multiplied and not name.startswith("position") else 0
    yield from seen.values()
