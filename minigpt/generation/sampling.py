"""How the next token is picked: pure functions on logits (B V). A token that is ruled out gets the logit -inf."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from minigpt.config.hyperparameters import SamplingConfig

NEARLY_ZERO = 1e-4
"""Temperatures below this are taken for 0: the most probable token has all the probability that float32 can show."""

USUALLY_ENOUGH = 1000
"""Most probable tokens among which top-p looks first: sorting a large vocabulary takes as long as a large model."""

RUN = 1024
"""Neighbours that are taken together in a larger vocabulary: going through 50,257 numbers one by one takes its time."""


def next_token_probabilities(logits: Tensor, seen: Tensor, config: SamplingConfig) -> Tensor:
    """Probabilities (B V, float32) from which the next token is drawn.

    `seen` (B V, bool) marks the tokens that the text has already. The order is the usual one: repetition penalty,
    temperature, top-k, top-p, min-p. Temperature 0 gives all probability to the most probable token.
    """
    if config.repetition_penalty != 1:
        logits = penalise_repetition(logits, seen, config.repetition_penalty)
    if config.temperature < NEARLY_ZERO:
        return torch.zeros_like(logits).scatter_(1, most_probable(logits)[:, None], 1.0)
    logits = logits / config.temperature
    if config.top_k is not None:
        logits = keep_top_k(logits, config.top_k)
    if config.top_p is not None:
        logits = keep_top_p(logits, config.top_p)
    if config.min_p is not None:
        logits = keep_min_p(logits, config.min_p)
    return logits.softmax(-1)


def penalise_repetition(logits: Tensor, seen: Tensor, penalty: float) -> Tensor:
    """Divide the positive logits of `seen` tokens by `penalty`, multiply the negative ones (Keskar 2019, 'CTRL')."""
    return torch.where(seen, torch.where(logits > 0, logits / penalty, logits * penalty), logits)


def keep_top_k(logits: Tensor, k: int) -> Tensor:
    """Keep the k most probable tokens, and those that tie with the last of them."""
    threshold = logits.topk(min(k, logits.shape[-1])).values[:, -1:]
    return logits.masked_fill(logits < threshold, -math.inf)


def keep_top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the smallest set of most probable tokens whose probabilities reach `p` (Holtzman 2019, 'nucleus')."""
    probabilities = logits.softmax(-1)
    ordered, order = probabilities.topk(min(USUALLY_ENOUGH, logits.shape[-1]))
    if (ordered.sum(-1) < p).any():
        ordered, order = probabilities.sort(descending=True)
    kept = ordered.cumsum(-1) - ordered < p  # what the more probable tokens hold already
    kept[:, 0] = True  # rounding never rules out the most probable token
    return logits.masked_fill(torch.ones_like(logits, dtype=torch.bool).scatter(1, order, ~kept), -math.inf)


def keep_min_p(logits: Tensor, p: float) -> Tensor:
    """Keep tokens that are at least `p` times as probable as the most probable one (Nguyen 2024)."""
    threshold = logits.max(-1, keepdim=True).values + (math.log(p) if p > 0 else -math.inf)
    return logits.masked_fill(logits < threshold, -math.inf)


def pick(probabilities: Tensor, config: SamplingConfig, generator: torch.Generator) -> Tensor:
    """One token (B) for each row of probabilities (on the CPU)."""
    return most_probable(probabilities) if config.temperature < NEARLY_ZERO else draw(probabilities, generator)


def most_probable(rows: Tensor) -> Tensor:
    """The token (B) of the largest number of each row, the first one if there are several: of many, first its run."""
    if rows.shape[1] <= RUN:
        return rows.argmax(-1)
    runs = _runs(rows, -math.inf)
    run = runs.amax(-1).argmax(-1)
    return run * RUN + runs[torch.arange(len(runs)), run].argmax(-1)


def draw(probabilities: Tensor, generator: torch.Generator) -> Tensor:
    """A token (B) at random out of each row of probabilities: of many, first a run of neighbours, then one of it."""
    n_tokens = probabilities.shape[1]
    if n_tokens <= RUN:
        return _draw(probabilities, generator)
    runs = _runs(probabilities, 0.0)
    run = _draw(runs.sum(-1), generator)
    return (run * RUN + _draw(runs[torch.arange(len(runs)), run], generator)).clamp(max=n_tokens - 1)


def _runs(rows: Tensor, filling: float) -> Tensor:
    """Rows (B V) in runs (B V/1024 1024), the last one filled up."""
    return F.pad(rows, (0, -rows.shape[1] % RUN), value=filling).view(len(rows), -1, RUN)


def _draw(shares: Tensor, generator: torch.Generator) -> Tensor:
    """Where (B) a random part of the whole row of shares is reached."""
    reached = shares.double().cumsum(-1)
    part = torch.rand(len(reached), 1, generator=generator, dtype=torch.float64) * reached[:, -1:]
    return torch.searchsorted(reached, part, right=True)[:, 0].clamp(max=reached.shape[1] - 1)
