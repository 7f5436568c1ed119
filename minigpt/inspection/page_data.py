"""All numbers of the explain page: of the vocabulary, of one text, of the same text in earlier checkpoints."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter

from minigpt.config.hyperparameters import SamplingConfig
from minigpt.errors import UserError, warn
from minigpt.generation.generate import generate
from minigpt.inspection.embeddings import Embedding
from minigpt.inspection.habits import Habits, kept_habits
from minigpt.inspection.intervene import check_parts
from minigpt.inspection.learning import surprisals, updates
from minigpt.inspection.own_text import own_texts
from minigpt.inspection.packing import ROOM, pack, pack_half, pack_rows, pack_weights, weight_array
from minigpt.inspection.parts_data import CANDIDATES, SMALL, attribution_data, beside_data, guesses, switches_data
from minigpt.inspection.trace import LayerTrace, Trace, trace
from minigpt.model.gpt import GPT
from minigpt.runs import Run, kept_steps, load_step
from minigpt.storage.checksums import DamageError
from minigpt.storage.metrics import parse_metrics
from minigpt.tokenizers.compare import Token, label

CONTINUATION = 12
"""Tokens that are written after each candidate for the next one."""
OWN = 16
"""Tokens of a text that the model wrote itself, to see what learning another one does to it."""
TINY = 1e-30
POINTS = 300
"""Of a curve."""
NEIGHBOURS = 8
LONGEST = 128
"""Tokens that a page has room for: their pairs are its largest picture."""
MAPPED = 3000
"""Tokens on the map of the vocabulary, the first ones, which are the most frequent."""


@dataclass(frozen=True)
class Stage:
    """What a checkpoint made of the same text: its step, its guesses, where its heads looked."""

    step: int
    traced: Trace


def model_data(run: Run) -> dict[str, Any]:
    """What does not depend on the text: the weights, the vocabulary, its map, its vectors or, of many, those mapped."""
    habits = kept_habits(run)
    embedding, rows = Embedding.of(run), weight_array(run.model.token_embedding.weight)
    mapped, places = embedding.map(min(MAPPED, ROOM // 3 // rows.shape[1]))
    shown = list(range(len(rows))) if 3 * rows.size <= ROOM else mapped
    return {
        "model": run.config.model.model_dump(),
        "step": run.step,
        "sampling": run.config.sampling.model_dump(include={"temperature", "top_k", "top_p"}),
        "vocabulary": [label(piece) for piece in run.tokenizer.token_bytes],
        "map": {"tokens": mapped, "places": pack(places)},
        "rows": {"tokens": shown, **pack_rows(rows[shown])},
        "scale": run.model.embedding_scale,
        "weights": pack_weights(run.model),
        "habits": habits and TypeAdapter(Habits).dump_python(habits, exclude={"means"}),
        "losses": {name: losses(run, name) for name in ("loss", "validation_loss")},
    }


def losses(run: Run, name: str) -> list[tuple[int, float]]:
    """Steps and losses of the run's training, at most some hundred of them; none where its metrics are damaged."""
    try:
        lines = [line for line in parse_metrics(run.folder.metrics)[0] if name in line]
    except UserError as error:
        warn(f"{error}; the page goes without its curve")
        return []
    return [(line["step"], round(line[name], 3)) for line in lines[:: 1 + len(lines) // POINTS]]


def text_data(
    run: Run,
    prompt: str,
    without: Sequence[str] = (),
    beside: str | None = None,
    learning: bool = True,
    others: bool = True,
) -> dict[str, Any]:
    """What the model makes of a text, also with some of its parts changed; UserError where that is too long.

    A second text `beside` it and a step of `learning` on it take longer than all the rest; without it, parts are not
    tried at their mean. More time is spared without the `others`: the model with each part changed, other checkpoints.
    """
    check_parts(without, run.config.model)
    token_ids = _encoded(run, prompt, "--prompt")
    other_ids = [] if beside is None else _encoded(run, beside, "--beside")
    traced, large = trace(run.model, token_ids), run.model.n_parameters() > SMALL
    if not np.isfinite(traced.logits).all():
        raise UserError(f"{run.folder.path}: step {run.step}: the model has diverged; take another with --checkpoint")
    return {
        "prompt": prompt,
        "coarse": large,
        "tokens": _tokens(run, token_ids, Embedding.of(run)),
        "embedding": pack(traced.embedding),
        "position": None if traced.position is None else pack(traced.position),
        "entering": pack(traced.layers[0].residual),
        "layers": [_layer(layer, large) for layer in traced.layers],
        "normed": pack(traced.normed[-1]),
        "logits": pack(traced.logits[-1]),
        "attribution": attribution_data(run, traced),
        "switches": switches_data(run, traced, without, others, learning),
        "learning": _learning(run, traced) if learning and len(token_ids) > 1 else None,
        "beside": beside_data(run, token_ids, beside, other_ids) if beside is not None else None,
        "continuations": _continuations(run, token_ids, traced),
        "stages": [_stage(stage) for stage in (stages(run, token_ids, traced) if others else ())],
    }


def _encoded(run: Run, text: str, option: str) -> list[int]:
    token_ids = run.encode_prompt(text)
    longest = min(run.config.model.context_length, LONGEST)
    if len(token_ids) > longest:
        who = "a page shows" if longest == LONGEST else "the model sees"
        raise UserError(
            f"command line: {option}: has {len(token_ids):,} tokens, and {who} {longest:,} at once; shorten it"
        )
    return token_ids


def stages(run: Run, token_ids: list[int], last: Trace) -> Iterator[Stage]:
    """The same text in every checkpoint that the run has kept, in order; a warning where one is of no use."""
    for step in kept_steps(run.folder):
        try:
            traced = last if step == run.step else trace(_at(run, step), token_ids)
            if not np.isfinite(traced.logits).all():
                raise DamageError(f"{run.folder.path}: step {step}: the model has diverged")
            yield Stage(step, traced)
        except DamageError as error:
            warn(f"{error}; the page goes without it")


def _at(run: Run, step: int) -> GPT:
    """The run's model as it was at a step; small ones are remembered."""
    models = _models(run) if run.model.n_parameters() <= SMALL else {}
    if step not in models:
        models[step] = load_step(run.folder, run.config, step).model
    return models[step]


@lru_cache(maxsize=1)
def _models(_run: Run) -> dict[int, GPT]:
    return {}


def _tokens(run: Run, token_ids: list[int], embedding: Embedding) -> list[dict[str, Any]]:
    tokenizer, shown = run.tokenizer, []
    for token in token_ids:
        fields = Token(token, tokenizer.token_bytes[token], tokenizer.merges(token)).as_dict()
        near = embedding.neighbours(token, NEIGHBOURS)
        shown.append({**fields, "neighbours": [[one.token, round(one.cosine, 3)] for one in near]})
    return shown


def _layer(layer: LayerTrace, large: bool) -> dict[str, Any]:
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
    packed: dict[str, Any] = {name: pack_half(array) if large else pack(array) for name, array in arrays.items()}
    return {**packed, "guesses": {"between": guesses(layer.logits_between), "leaving": guesses(layer.logits_leaving)}}


def _learning(run: Run, traced: Trace) -> dict[str, Any]:
    """How surprised the model is by each word, and by those of a text of its own, after one step of learning."""
    ids = traced.token_ids
    least, unknown = _least(run, ids)
    told: dict[str, Any] = {
        "surprisals": surprisals(traced.logits, ids).round(3).tolist(),
        "least": least,
        "unknown": unknown,
        "guessing": float(np.log(run.tokenizer.vocab_size)),
    }
    if run.model.n_parameters() > SMALL:
        return told
    own = own_texts(run)[0][: 1 + OWN]
    steps = [
        {
            "rate": float(f"{update.rate:.3g}"),
            "surprisals": update.surprisals.round(3).tolist(),
            "own": round(float(update.others.mean()), 4),
            "guesses": guesses(np.log(update.probabilities + TINY)[None])[0],
        }
        for update in updates(run.model, ids, own)
    ]
    return {**told, "own": run.tokenizer.decode(own), "updates": steps}


def _least(run: Run, token_ids: list[int]) -> tuple[list[float], str]:
    """Surprises by the true probabilities of the built-in stories, from the first word on; why they end before all."""
    if run.config.data.source != "stories":
        return [], ""
    if token_ids[0] != run.tokenizer.end_of_text:
        why = "How probable words truly are is known after ⟨end⟩ alone, with which this model begins no text."
        return [], why
    from minigpt.data.stories_ahead import token_probabilities

    known = [round(-math.log(p), 3) for p in token_probabilities(token_ids, run.tokenizer)]
    beyond = token_ids[len(known) + 1 :]
    if not beyond:
        return known, ""
    word = label(run.tokenizer.token_bytes[beyond[0]])
    return known, f"No story goes on with “{word}” there: of it and what follows no true probability is known."


def _stage(stage: Stage) -> dict[str, Any]:
    weights = np.stack([layer.attention.weights for layer in stage.traced.layers])
    return {"step": stage.step, "guesses": guesses(stage.traced.logits[-1:])[0], "weights": pack_rows(weights)}


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
