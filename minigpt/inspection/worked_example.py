"""The lesson's example by hand, calculated by minigpt's own modules: three words, two dimensions, one layer."""

from dataclasses import dataclass

import torch

from minigpt.config.hyperparameters import SamplingConfig
from minigpt.generation.sampling import next_token_probabilities
from minigpt.model.layers import Embedding, Linear

WORDS = ("hello", "world", "!")
EMBEDDING = ((0.1, 0.2), (0.3, 0.4), (0.5, 0.6))
WEIGHT = ((1.0, 2.0), (3.0, 4.0))
"""As it is written by hand: a row of inputs times this matrix."""
BIAS = (0.5, 0.5)


@dataclass(frozen=True)
class WorkedExample:
    """Every number from the word 'world' to the most probable next one."""

    words: tuple[str, ...]
    matrix: tuple[tuple[float, ...], ...]
    weight: tuple[tuple[float, ...], ...]
    bias: tuple[float, ...]
    word: str
    one_hot: list[float]
    embedding: list[float]
    hidden: list[float]
    logits: list[float]
    probabilities: list[float]
    next_word: str


@torch.inference_mode()
def worked_example() -> WorkedExample:
    """One-hot times E; times W plus b; times Eᵀ are the logits; softmax; the most probable word."""
    embedding = Embedding.from_pretrained(torch.tensor(EMBEDDING))
    layer = Linear(2, 2)
    layer.weight.copy_(torch.tensor(WEIGHT).T)
    layer.bias.copy_(torch.tensor(BIAS))
    head = Linear(2, len(WORDS), bias=False)
    head.weight = embedding.weight
    word = "world"
    token = WORDS.index(word)
    vector = embedding(torch.tensor(token))
    hidden = layer(vector)
    logits = head(hidden)
    nothing_seen = torch.zeros(1, len(WORDS), dtype=torch.bool)
    probabilities = next_token_probabilities(logits[None], nothing_seen, SamplingConfig(temperature=1))[0]
    one_hot = [float(i == token) for i in range(len(WORDS))]
    return WorkedExample(
        WORDS, EMBEDDING, WEIGHT, BIAS, word, one_hot, vector.tolist(), hidden.tolist(), logits.tolist(),
        probabilities.tolist(), WORDS[int(probabilities.argmax())],
    )  # fmt: skip
