"""Texts that the model writes itself: a sample of what it has learned, which needs no corpus."""

from functools import lru_cache

import torch

from minigpt.config.hyperparameters import SamplingConfig
from minigpt.generation.generate import generate
from minigpt.model.gpt import GPT
from minigpt.runs import Run

N_TEXTS, LENGTH = 16, 32
"""How many there are, and of how many tokens at most, besides the one that each begins with."""


def own_texts(run: Run) -> list[list[int]]:
    """Beginnings of documents as the model would write them, drawn by its own probabilities; always the same ones."""
    begin = tuple(run.tokenizer.encode_prompt("", True))
    return _written(run.model, begin, run.tokenizer.end_of_text)


@lru_cache(maxsize=1)  # a live page asks for them at every key
def _written(model: GPT, begin: tuple[int, ...], end: int) -> list[list[int]]:
    length = min(LENGTH, model.config.context_length - len(begin))
    drawn = SamplingConfig(temperature=1, max_new_tokens=length)
    steps = list(generate(model, begin, drawn, end_of_text=end, seed=0, n_samples=N_TEXTS))
    written = torch.stack([step.token_ids for step in steps], 1).tolist()
    return [[*begin, *(ids[: ids.index(end) + 1] if end in ids else ids)] for ids in written]
