"""What heads usually look at, and what neurons usually fire at: measured on a text that the model did not learn from.

Axis letters: B windows of the text, T positions in one, S positions that are looked at, H heads, F d_ff.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np
import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass as checked_dataclass
from torch import Tensor

from minigpt.data.tokens import TokenStream
from minigpt.errors import UserError, typed, warn
from minigpt.inspection.rules import rules
from minigpt.inspection.trace import look_around
from minigpt.model.gpt import GPT
from minigpt.runs import Run
from minigpt.storage.checksums import DamageError, read_sealed, sealed
from minigpt.storage.writing import save
from minigpt.tokenizers.compare import label

TOKENS, OPERATIONS = 8192, 2e11
"""Of the text that is read at most: under a second for a small model, some for a large one."""
WINDOW, ROWS = 256, 8
"""Tokens of a window at most, since attention takes room for their pairs; windows that are read at once."""
FEW = 20
"""Places of the text below which a share means nothing."""
SNIPPETS, AROUND = 3, 6
"""Places of the text that a neuron is remembered by, and how many tokens on either side are told."""
PAIRS = 3
"""Of words, that a head is remembered by."""
NEURONS = 3072
"""Of the model, as many of each layer: those that fire most."""


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class Habit:
    """How a rule describes a head: the share of places at which it looks most where the rule says.

    Beside it the mean weight there, what both would be if all were looked at alike, and how many places there were:
    those at which the rule names something that can be seen, but not all of it.
    """

    rule: str
    share: float
    weight: float
    chance: float
    places: int


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class Head:
    """Its habits by how often they hold, and the words from which it looks most surely at another.

    Of these: the word, the other, at what share of the word's places, how many those are.
    """

    habits: list[Habit]
    pairs: list[tuple[str, str, float, int]]


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class Habits:
    """Of a whole model, layer by layer; neurons by their number.

    A neuron has the places of the text at which it fires most: what stands before, the token, what follows, how much.
    The means are what a layer's heads and neurons make on average (`intervene.Work`).
    """

    step: int
    tokens: int
    heads: list[list[Head]]
    neurons: list[dict[str, list[tuple[str, str, str, float]]]]
    means: list[tuple[list[float], list[float]]]


@torch.inference_mode()
def habits(run: Run, tokens: TokenStream | Sequence[int]) -> Habits:
    """Read windows all over a text (two tokens or more), as many as are done in a moment, and see.

    UserError where the model has diverged.
    """
    model, tokenizer = run.model, run.tokenizer
    length = min(run.config.model.context_length, WINDOW, len(tokens))
    n_windows = max(1, int(min(TOKENS, OPERATIONS / (2 * model.n_parameters()), len(tokens))) // length)
    starts = np.linspace(0, len(tokens) - length, n_windows).astype(int)
    windows = torch.tensor(np.array([tokens[start : start + length] for start in starts], np.int64))
    counts = [_Counts(rules(tokenizer)) for _ in model.blocks]
    for some in windows.split(ROWS):
        for count, (weights, mixed, hidden) in zip(counts, _layers(model, some), strict=True):
            if not hidden.isfinite().all():
                raise UserError(
                    f"{run.folder.path}: step {run.step}: the model's neurons are no numbers, it has diverged; "
                    "take an earlier checkpoint with --checkpoint"
                )
            count.add(some, weights, mixed, hidden)
    vocabulary = [label(piece) for piece in tokenizer.token_bytes]
    pieces = [vocabulary[token] for token in windows.flatten().tolist()]
    heads = [count.heads(vocabulary) for count in counts]
    neurons = [count.neurons(NEURONS // len(counts), pieces, length) for count in counts]
    return Habits(run.step, len(pieces), heads, neurons, [count.means() for count in counts])


def _layers(model: GPT, ids: Tensor) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Of each layer the attention weights (B H T S), what is gathered by them (B H T K) and the neurons (B T F)."""
    x, rotation = model.embed(ids.to(model.device))
    found = []
    for block in model.layers:
        looked = look_around(block.attention, block.attention_norm(x), rotation)
        x = x + block.attention.join(looked["mixed"])
        hidden = block.feed_forward.activate(block.feed_forward_norm(x))
        x = x + block.feed_forward.down_proj(hidden)
        found.append((looked["weights"].cpu(), looked["mixed"].cpu(), hidden.cpu()))
    return found


class _Counts:
    """What one layer did, window by window."""

    def __init__(self, named: dict[str, Callable[[Tensor], Tensor]]) -> None:
        self._rules = named
        self._sums: dict[str, Tensor] = {}
        self._hidden: list[Tensor] = []
        self._mixed: list[Tensor] = []
        self._looks: list[Tensor] = []  # H 2 N: from which token to which

    def add(self, ids: Tensor, weights: Tensor, mixed: Tensor, hidden: Tensor) -> None:
        """Windows (B T) with what the layer did in them (`_layers`); the first position sees but itself."""
        most = weights.argmax(-1)[:, :, 1:, None]  # B H T-1 1
        seen = torch.arange(2, ids.shape[1] + 1)  # T-1
        for name, rule in self._rules.items():
            there = rule(ids)[:, None, 1:]  # B 1 T-1 S
            named = there.sum(-1)
            places = (named > 0) & (named < seen)
            hit = there.expand(-1, weights.shape[1], -1, -1).gather(-1, most)[..., 0]
            weight = (weights[:, :, 1:] * there).sum(-1)
            chance = (named / seen).expand_as(weight)
            sums = [(x * places).double().sum((0, 2)) for x in (hit, weight, chance, torch.ones_like(weight))]
            self._sums[name] = self._sums.get(name, 0) + torch.stack(sums)
        self._hidden.append(hidden.flatten(0, 1))
        self._mixed.append(mixed.transpose(1, 2).flatten(2).flatten(0, 1))
        looked = ids[:, None].expand(-1, weights.shape[1], -1).gather(-1, most[..., 0])  # B H T-1
        looking = ids[:, None, 1:].expand_as(looked)
        self._looks.append(torch.stack((looking, looked), 2).permute(1, 2, 0, 3).flatten(2))

    def heads(self, vocabulary: list[str]) -> list[Head]:
        """Of each head the rules that had places to hold at, and its surest pairs of words."""
        found = []
        for head, looks in enumerate(torch.cat(self._looks, -1)):
            sums = {name: of_heads[:, head].tolist() for name, of_heads in self._sums.items()}
            held = [
                Habit(name, round(share / n, 4), round(weight / n, 4), round(chance / n, 4), int(n))
                for name, (share, weight, chance, n) in sums.items()
                if n >= FEW
            ]
            places = looks[0].bincount()
            pairs, counts = looks[:, places[looks[0]] >= FEW].unique(dim=1, return_counts=True)
            shares = counts / places[pairs[0]]
            surest = [
                (vocabulary[pairs[0, i]], vocabulary[pairs[1, i]], round(float(shares[i]), 4), int(places[pairs[0, i]]))
                for i in shares.argsort(descending=True, stable=True)[:PAIRS].tolist()
            ]
            found.append(Head(sorted(held, key=lambda habit: -habit.share), surest))
        return found

    def neurons(self, most: int, pieces: list[str], length: int) -> dict[str, list[tuple[str, str, str, float]]]:
        """For each of the `most` neurons that fire most where they do."""
        hidden = torch.cat(self._hidden)  # tokens, F
        _, places = hidden.abs().topk(min(SNIPPETS, len(hidden)), 0)
        values = hidden.gather(0, places)
        loudest = values[0].abs().argsort(descending=True)[:most].tolist()

        def snippet(place: int, value: float) -> tuple[str, str, str, float]:
            first, end = place - place % length, place - place % length + length
            before, after = pieces[max(first, place - AROUND) : place], pieces[place + 1 : min(end, place + 1 + AROUND)]
            return "".join(before), pieces[place], "".join(after), float(f"{value:.4g}")

        return {
            str(i): [snippet(*one) for one in zip(places[:, i].tolist(), values[:, i].tolist(), strict=True)]
            for i in sorted(loudest)
        }

    def means(self) -> tuple[list[float], list[float]]:
        """What heads and neurons made on average."""
        made = torch.cat(self._mixed), torch.cat(self._hidden)
        heads, neurons = ([float(f"{x:.6g}") for x in each.double().mean(0).tolist()] for each in made)
        return heads, neurons


def keep_habits(run: Run, tokens: TokenStream) -> None:
    """Find them out and keep them in the run; UserError where it takes no file."""
    remedy = f"mend that, and find them out with: minigpt explain {typed(run.folder.path)} --habits"
    save(run.folder.habits, sealed(asdict(habits(run, tokens))), remedy)


def kept_habits(run: Run) -> Habits | None:
    """Those that the run keeps, perhaps of another of its checkpoints; a warning where they are damaged or no such."""
    try:
        return read_habits(run)
    except DamageError as error:
        warn(f"{error}; minigpt explain --habits finds them out anew")
        return None


def read_habits(run: Run) -> Habits | None:
    """The same; DamageError instead of the warning."""
    path, shape = run.folder.habits, run.config.model
    if not path.exists():
        return None
    kept = read_sealed(path, Habits)
    heads, means = [len(layer) for layer in kept.heads], [(len(heads), len(neurons)) for heads, neurons in kept.means]
    widths = shape.n_heads * shape.d_head, shape.d_ff
    if heads != [shape.n_heads] * shape.n_layers or means != [widths] * shape.n_layers:
        raise DamageError(f"{path}: belongs to another model")
    return kept
