"""What the explain page shows of a model's parts: who wrote the answer, and what comes of changing one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from minigpt.inspection.attribution import attribution
from minigpt.inspection.intervene import (
    MEAN,
    affordable,
    changed_logits,
    describe,
    layer_of,
    named_changes,
    parts,
    spelt,
    usual_work,
)
from minigpt.inspection.packing import Numbers
from minigpt.inspection.patching import patching
from minigpt.inspection.trace import Trace
from minigpt.runs import Run

CANDIDATES = 8
"""Next tokens whose consequences are in the page."""
GUESSES = 5
"""Tokens that are listed where a layer is asked what it would say."""
WORDS = 24
"""Next tokens, the likeliest, whose logits are told part by part."""
NEURONS = 4
"""Of each layer, those that have switches: the last token's strongest, in small models."""
SMALL = 20_000_000
"""Parameters of models that are quick enough to write and learn for a page."""


def attribution_data(run: Run, traced: Trace) -> dict[str, Any]:
    """What each part adds to the logits of the likeliest words."""
    words = np.argsort(-traced.logits[-1])[:WORDS].tolist()
    shares = attribution(run.model, traced, words)
    return {
        "words": words,
        "logits": traced.logits[-1][words].round(4).tolist(),
        "parts": [
            [describe(name) if name[0].isdigit() else name, row.round(5).tolist()] for name, row in shares.items()
        ],
    }


def switches_data(run: Run, traced: Trace, asked: Sequence[str], every: bool, means: bool) -> dict[str, Any]:
    """The likeliest next words and their probabilities, also with `every` part off, at its mean, and as asked."""
    ids, words = traced.token_ids, np.argsort(-traced.logits[-1])[:CANDIDATES].tolist()
    single = _switched(run, traced, asked) if every else []
    small = run.model.n_parameters() <= SMALL
    names = single + [name + MEAN for name in single if means and small]
    rows = [[name] for name in names] if affordable(run.model, len(names), len(ids)) else []
    rows += [list(asked)] if asked and list(asked) not in rows else []
    changes = named_changes(run, rows)
    switched = {}
    for row, logits in zip(rows, changed_logits(run.model, ids, changes) if rows else [], strict=True):
        shares = torch.tensor(logits).softmax(-1)[words].tolist()
        switched["+".join(row)] = {
            "label": " and ".join(map(describe, row)),
            "shares": [_six(share) for share in shares],
            "guesses": guesses(logits[None])[0],
        }
    before = [_six(share) for share in traced.probabilities[-1][words]]
    mean = usual_work(run)[1] if small or any(name.endswith(MEAN) for name in asked) else None
    return {"words": words, "before": before, "without": switched, "asked": "+".join(asked), "mean": mean}


def _switched(run: Run, traced: Trace, asked: Sequence[str]) -> list[str]:
    """The parts that have switches: all, and of the single neurons some strong ones and those that were asked for."""
    shown, small = parts(run.config.model), run.model.n_parameters() <= SMALL
    for number, layer in enumerate(traced.layers, 1):
        strongest = np.argsort(-np.abs(layer.feed_forward.hidden[-1]))[: NEURONS if small else 0]
        wanted = [name.removesuffix(MEAN) for name in asked if layer_of(name) == number]
        neurons = dict.fromkeys([*(f"{number}.neuron{i}" for i in strongest), *wanted])
        place = shown.index(f"{number}.neurons")
        shown[place:place] = [name for name in neurons if name not in shown]
    return shown


def beside_data(run: Run, token_ids: list[int], text: str, other_ids: list[int]) -> dict[str, Any]:
    """What comes of the next word when a part does what it did in a second text, for every part at every position."""
    found = patching(run.model, token_ids, other_ids)
    shift = len(other_ids) - len(token_ids)

    def shares(logs: NDArray[np.float64]) -> list[float]:
        return [_six(share) for share in np.exp(logs)]

    return {
        "text": text,
        "words": found.words,
        "here": shares(found.first),
        "there": shares(found.second),
        "parts": [describe(part) for part in found.parts],
        "columns": [
            ["all"] if p is None else list(dict.fromkeys([spelt(run, token_ids[p]), spelt(run, other_ids[p + shift])]))
            for p in found.positions
        ],
        "carried": [[shares(cell) for cell in row] for row in found.carried],
    }


def _six(share: float) -> float:
    """With six digits."""
    return float(f"{share:.6g}")


def guesses(logits: Numbers) -> list[list[list[float]]]:
    """For each row of logits (T V) the most probable tokens with their probabilities."""
    probabilities = torch.tensor(logits).softmax(-1).topk(min(GUESSES, logits.shape[-1]))
    return [
        [[token, float(f"{share:.4g}")] for token, share in zip(tokens, shares, strict=True)]
        for tokens, shares in zip(probabilities.indices.tolist(), probabilities.values.tolist(), strict=True)
    ]
