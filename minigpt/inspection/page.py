"""`minigpt explain`: everything that `trace` finds out about one text, as one page that needs nothing else."""

import base64
import importlib.resources
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import Environment
from markupsafe import Markup
from numpy.typing import NDArray

from minigpt.config.hyperparameters import SamplingConfig
from minigpt.errors import UserError
from minigpt.generation.generate import generate
from minigpt.inspection.embeddings import Embedding
from minigpt.inspection.trace import LayerTrace, Trace, trace
from minigpt.inspection.worked_example import worked_example
from minigpt.model.gpt import GPT
from minigpt.runs import Run, kept_steps, load_run
from minigpt.storage.checksums import DamageError
from minigpt.tokenizers.compare import Token, Tokenized, steps, visible

CANDIDATES, CONTINUATION = 8, 12
"""Next tokens whose consequences are in the page, and how many tokens these are long."""
GUESSES = 5
"""Tokens that are listed where a layer is asked what it would say."""
NEIGHBOURS = 8
DEFAULT_LENGTH = 24
"""Tokens that are looked at where no text was given."""
LONGEST = 128
"""Tokens that a page has room for: their pairs are its largest picture."""
SMALL = 20_000_000
"""Parameters of models up to which those of earlier checkpoints are kept in memory."""
MAPPED = 3000
"""Tokens on the map of the vocabulary, the first ones, which are the most frequent."""
ROOM = 750_000
"""Numbers that the rows of the embedding, for sums of meanings, may take in a page."""

Numbers = NDArray[np.float32]


@dataclass(frozen=True)
class Stage:
    """What a checkpoint made of the same text: its step, its guesses, where its heads looked."""

    step: int
    traced: Trace


def explain(run: Run, prompt: str, live: bool = False) -> str:
    """The page (HTML); UserError where the prompt is longer than the context or cannot be encoded.

    A `live` one has a field for another text, whose numbers it asks the server for that it came from.
    """
    data = json.dumps(page_data(run, prompt), ensure_ascii=False, separators=(",", ":"))
    return _render(
        "explain.html.jinja",
        name=run.folder.path.name,
        prompt=prompt,
        script=Markup(_template("explain.js")),  # noqa: S704 - our own file
        data=Markup(data.replace("<", "\\u003c")),  # noqa: S704 - no text can end the element that it stands in
        model=run.config.model,
        step=run.step,
        live=live,
        parts=list(matrices(run.model)),
        example=worked_example(),
    )


def tokens_page(text: str, sides: list[Tokenized]) -> str:
    """A page (HTML) of one text under several tokenizers."""
    return _render("tokenize.html.jinja", text=text, sides=sides, visible=visible, steps=steps)


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
    style = Markup(_template("explain.css"))  # noqa: S704 - our own file
    return Environment(autoescape=True).from_string(_template(template)).render(style=style, **values)


def _template(name: str) -> str:
    return (importlib.resources.files("minigpt.inspection") / "templates" / name).read_text(encoding="utf-8")


def page_data(run: Run, prompt: str) -> dict[str, Any]:
    """All numbers of the page; arrays are float16 in base64, with their shapes."""
    return model_data(run) | text_data(run, prompt)


def model_data(run: Run) -> dict[str, Any]:
    """What does not depend on the text: the vocabulary, its map, the directions of its vectors."""
    embedding = Embedding.of(run)
    mapped, places = embedding.map(min(MAPPED, ROOM // run.config.model.d_model))
    return {
        "model": run.config.model.model_dump(),
        "step": run.step,
        "sampling": run.config.sampling.model_dump(include={"temperature", "top_k", "top_p"}),
        "vocabulary": [visible(piece) or "⟨end⟩" for piece in run.tokenizer.token_bytes],
        "map": {"tokens": mapped, "places": _pack(places), "rows": _pack(embedding.vectors[mapped])},
    }


def text_data(run: Run, prompt: str) -> dict[str, Any]:
    """What the model makes of a text; UserError where that is too long."""
    config = run.config
    token_ids = run.tokenizer.encode_prompt(prompt, config.sampling.begin_document is True)
    longest = min(config.model.context_length, LONGEST)
    if len(token_ids) > longest:
        who = "a page shows" if longest == LONGEST else "the model sees"
        raise UserError(
            f"command line: --prompt: has {len(token_ids):,} tokens, and {who} {longest:,} at once; shorten it"
        )
    traced = trace(run.model, token_ids)
    return {
        "prompt": prompt,
        "tokens": _tokens(run, token_ids, Embedding.of(run)),
        "embedding": _pack(traced.embedding),
        "position": None if traced.position is None else _pack(traced.position),
        "entering": _pack(traced.layers[0].residual),
        "layers": [_layer(layer) for layer in traced.layers],
        "normed": _pack(traced.normed[-1]),
        "logits": _pack(traced.logits[-1]),
        "continuations": _continuations(run, token_ids, traced),
        "stages": [_stage(stage) for stage in stages(run, token_ids, traced)],
    }


def matrices(model: GPT) -> Iterator[dict[str, Any]]:
    """Name, shape, parameters and operations per token of every tensor, those of all blocks together."""
    config, seen = model.config, dict[str, dict[str, Any]]()
    for name, parameter in model.named_parameters():
        short = name.removesuffix(".weight")
        if short.startswith("blocks."):
            short = short.split(".", 2)[2]
        row = seen.setdefault(
            short, {"name": short, "shape": " × ".join(map(str, parameter.shape)), "n": 0, "flops": 0}
        )
        row["n"] += parameter.numel()
        multiplied = parameter.ndim == 2 and (name != "token_embedding.weight" or config.tie_embeddings)
        row["flops"] += 2 * parameter.numel() if multiplied and not name.startswith("position") else 0
    yield from seen.values()


def stages(run: Run, token_ids: list[int], last: Trace) -> Iterator[Stage]:
    """The same text in every checkpoint that the run has kept, in order."""
    load = _remembered if run.model.n_parameters() <= SMALL else _load
    for step in kept_steps(run.folder):
        try:
            yield Stage(step, last if step == run.step else trace(load(run.folder.path, step), token_ids))
        except DamageError as error:
            print(f"warning: {error}; the page goes without it", file=sys.stderr)  # noqa: T201


def _load(path: Path, step: int) -> GPT:
    return load_run(path, str(step)).model


_remembered = lru_cache(maxsize=8)(_load)


def _tokens(run: Run, token_ids: list[int], embedding: Embedding) -> list[dict[str, Any]]:
    tokenizer, shown = run.tokenizer, []
    for token in token_ids:
        fields = Token(token, tokenizer.token_bytes[token], tokenizer.merges(token)).as_dict()
        fields["piece"] = fields["piece"] or "⟨end⟩"
        near = embedding.neighbours(token, NEIGHBOURS)
        shown.append({**fields, "neighbours": [[one.token, round(one.cosine, 3)] for one in near]})
    return shown


def _layer(layer: LayerTrace) -> dict[str, Any]:
    attention, thought = layer.attention, layer.feed_forward
    arrays = {
        "attention_input": layer.attention_input,
        "query": attention.query,
        "key": attention.key,
        "value": attention.value,
        "placed_query": attention.placed_query,
        "placed_key": attention.placed_key,
        "weights": attention.weights,
        "mixed": attention.mixed,
        "attention_output": attention.output,
        "between": layer.between,
        "feed_forward_input": layer.feed_forward_input,
        "up": thought.up,
        "hidden": thought.hidden,
        "feed_forward_output": thought.output,
        "leaving": layer.leaving,
    }
    if thought.gate is not None:
        arrays["gate"] = thought.gate
    packed: dict[str, Any] = {name: _pack(array) for name, array in arrays.items()}
    return {**packed, "guesses": {"between": _guesses(layer.logits_between), "leaving": _guesses(layer.logits_leaving)}}


def _stage(stage: Stage) -> dict[str, Any]:
    weights = np.stack([layer.attention.weights for layer in stage.traced.layers])
    return {"step": stage.step, "guesses": _guesses(stage.traced.logits[-1:])[0], "weights": _pack(weights)}


def _guesses(logits: Numbers) -> list[list[list[float]]]:
    """For each row of logits (T V) the most probable tokens with their probabilities."""
    probabilities = torch.tensor(logits).softmax(-1).topk(min(GUESSES, logits.shape[-1]))
    return [
        [[token, round(share, 4)] for token, share in zip(tokens, shares, strict=True)]
        for tokens, shares in zip(probabilities.indices.tolist(), probabilities.values.tolist(), strict=True)
    ]


def _continuations(run: Run, token_ids: list[int], traced: Trace) -> list[dict[str, Any]]:
    """What the model would write, most probable token by token, after each of the likeliest next tokens."""
    candidates = np.argsort(-traced.logits[-1])[:CANDIDATES].tolist()
    begun = torch.tensor([[*token_ids, token] for token in candidates])
    greedy, end = SamplingConfig(temperature=0, max_new_tokens=CONTINUATION), run.tokenizer.end_of_text
    steps = [step.token_ids for step in generate(run.model, begun, greedy, end_of_text=end, seed=0)]
    found = []
    for token, written in zip(candidates, torch.stack(steps, 1).tolist(), strict=True):
        until_end = [] if token == end else written[: written.index(end)] if end in written else written
        texts = [run.tokenizer.decode(ids) for ids in ([token], [token, *until_end])]
        found.append({"id": token, "next": texts[0], "text": texts[1]})
    return found


def _pack(array: Numbers) -> dict[str, Any]:
    """An array as float16 in base64: three digits each, which is what a page shows."""
    limit = float(np.finfo(np.float16).max)
    content = base64.b64encode(np.clip(array, -limit, limit).astype("<f2").tobytes()).decode()
    return {"shape": list(array.shape), "data": content}
