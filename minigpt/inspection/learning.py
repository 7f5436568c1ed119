"""One real step of learning on a text: how surprised the model is by each word, and how much less after an update."""

import copy
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from minigpt.inspection.trace import Array
from minigpt.model.gpt import GPT

SHARES = (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
"""How far updates go, as shares of the weights' length: beyond, one step of plain gradient descent wrecks a model."""


@dataclass(frozen=True)
class Update:
    """What w - rate · gradient does, the gradient being that of the text's mean loss."""

    rate: float
    surprisals: Array  # T - 1: nats of each token after the first
    others: Array  # the same of another text
    probabilities: Array  # V, of what comes after the text


def surprisals(logits: Array, token_ids: Sequence[int]) -> Array:
    """-ln p of each token but the first (T - 1), in nats, by the logits (T V) of a trace."""
    nats = F.cross_entropy(torch.from_numpy(logits[:-1]), torch.tensor(token_ids[1:]), reduction="none")
    return nats.numpy()


def updates(model: GPT, token_ids: Sequence[int], other: Sequence[int]) -> list[Update]:
    """Steps of stochastic gradient descent on a text (two tokens or more), from none at all to a far one."""
    stepped, text, another = copy.deepcopy(model), model.batch(token_ids), model.batch(other)
    F.cross_entropy(stepped(text[:, :-1])[0], text[0, 1:]).backward()
    weights = [(p, p.detach().clone(), torch.zeros_like(p) if p.grad is None else p.grad) for p in stepped.parameters()]
    found = []
    with torch.no_grad():
        length = _length(before for _, before, _ in weights)
        gradient_norm = _length(gradient for _, _, gradient in weights)
        for share in (0.0, *SHARES):
            rate = share * length / (gradient_norm or 1.0)
            for parameter, before, gradient in weights:
                parameter.copy_(before).sub_(gradient, alpha=rate)
            logits, others = (stepped(ids)[0].float().cpu().numpy() for ids in (text, another))
            following = torch.from_numpy(logits[-1]).softmax(-1).numpy()
            found.append(Update(rate, surprisals(logits, token_ids), surprisals(others, other), following))
    return found


def _length(tensors: Iterable[Tensor]) -> float:
    return math.sqrt(sum(float(tensor.square().sum()) for tensor in tensors))
