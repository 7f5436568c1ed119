"""Texts that the model writes itself: a sample of what it has learned, which needs no corpus."""

from functools import lru_cache

import torch

from minigpt.config.hyperparameters import SamplingConfig
from minigpt.generation.generate import generate
from minigpt.runs import Run

N_TEXTS, LENGTH = 16, 32
"""How many there are, and of how many tokens at most, besides the one that each begins with."""


@lru_cache(maxsize=1)  # a live page asks for them at every key
def own_texts(run: Run) -> list[list[int]]:
    """Beginnings of documents as the model would write them, drawn by its own probabilities; always the same ones."""
    begin, end = run.tokenizer.encode_prompt("", True), run.tokenizer.end_of_text
    length = min(LENGTH, run.config.model.context_length - len(begin))
    drawn = SamplingConfig(temperature=1, max_new_tokens=length)
    steps = list(generate(run.model, begin, drawn, end_of_text=end, seed=0, n_samples=N_TEXTS))
    written = torch.stack([step.token_ids for step in steps], 1).tolist()
    return [[*begin, *(ids[: ids.index(end) + 1] if end in ids else ids)] for ids in written]
