"""A second text beside the first: what parts did there is carried over to here, and shows where the two differ.

Known as activation patching (Vig 2020, 'Investigating Gender Bias in Language Models Using Causal Mediation Analysis').
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from minigpt.errors import UserError
from minigpt.inspection.intervene import (
    Change,
    Work,
    affordable,
    changed_logits,
    describe,
    layer_of,
    parts,
    percent,
    spelt,
    work,
)
from minigpt.model.gpt import GPT
from minigpt.runs import Run

TOLD = 4
"""Parts that are listed: those that make the largest difference."""


@dataclass(frozen=True)
class Patching:
    """How likely the two texts' likeliest next words are after the first, with parts as they were in the second.

    Texts of different lengths are compared from their ends.
    """

    words: tuple[int, int]  # of the first text, of the second
    first: NDArray[np.float64]  # 2: ln p of both words
    second: NDArray[np.float64]  # 2
    parts: list[str]  # P; whole layers only, where all parts would take too long
    positions: list[int | None]  # C: in the first text; None: all at once, in texts of the same length
    carried: NDArray[np.float64]  # P C 2


def carried(part: str, other: Work, position: int | None = None, source: int = 0) -> Change:
    """A part does at `position` what it did at `source` in another text; or everywhere, in one of the same length."""
    if position is None:
        return Change(part, other)
    there = [(heads[source : source + 1], neurons[source : source + 1]) for heads, neurons in other]
    return Change(part, there, position)


def patching(model: GPT, token_ids: Sequence[int], other_ids: Sequence[int]) -> Patching:
    """Every part at every position carried over, one at a time; UserError where that would take too long."""
    n, shift, other = len(token_ids), len(other_ids) - len(token_ids), work(model, other_ids)
    together = list(range(max(0, -shift), n))
    different = [p for p in together if shift or token_ids[: p + 1] != other_ids[: p + 1]]
    first, second = (_ln(changed_logits(model, ids, [[]]))[0] for ids in (token_ids, other_ids))
    best = int(first.argmax())
    words = [best, next(int(word) for word in np.argsort(-second) if word != best)]
    every = parts(model.config)
    for shown in (every, [part for part in every if "." not in part]):
        # The last layer matters for the last position only, and alike beginnings not at all.
        places: list[tuple[str, int | None]] = [
            (part, p) for part in shown for p in different if layer_of(part) < model.config.n_layers or p == n - 1
        ]
        places += [(part, None) for part in shown if not shift]
        if affordable(model, len(places), n):
            break
    else:
        raise UserError("command line: --beside: takes too long with so large a model; shorten both texts")
    rows = [[carried(part, other, p, 0 if p is None else p + shift)] for part, p in places]
    found = dict(zip(places, _ln(changed_logits(model, token_ids, rows))[:, words] if rows else [], strict=True))
    positions = [*together, *([] if shift else [None])]
    table = np.array([[found.get((part, p), first[words]) for p in positions] for part in shown])
    return Patching((words[0], words[1]), first[words], second[words], shown, positions, table)


def differences(run: Run, prompt: str, beside: str) -> list[str]:
    """For people: how likely both next words are, and what single parts of the second text change in the first."""
    token_ids, other_ids = run.encode_prompt(prompt), run.encode_prompt(beside)
    found = patching(run.model, token_ids, other_ids)
    logs, wholes = found.carried - found.first, [part for part in found.parts if "." not in part]  # P C 2
    moves = {
        (i, j): abs(logs[i, j, 0] - logs[i, j, 1])
        for i, part in enumerate(found.parts)
        for j, p in enumerate(found.positions)
        if p is not None and (part not in wholes or len(found.parts) == len(wholes))
    }

    def moved(after: NDArray[np.float64]) -> str:
        sides = zip(found.words, np.exp(found.first), np.exp(after), strict=True)
        return ", ".join(f"P({spelt(run, word)}) {percent(here)} → {percent(there)}" for word, here, there in sides)

    lines = [f"beside {beside!r}: {moved(found.second)}; with one part as it was there:"]
    for i, j in sorted(moves, key=moves.__getitem__, reverse=True)[:TOLD]:
        at = spelt(run, token_ids[found.positions[j] or 0])
        lines.append(f"  {describe(found.parts[i])} at {at}: {moved(found.carried[i, j])}")
    return lines


def _ln(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log-probabilities."""
    return torch.from_numpy(logits).double().log_softmax(-1).numpy()
