"""Prefill, then decode: the iterator behind every text that minigpt writes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from minigpt.config.hyperparameters import SamplingConfig
from minigpt.generation.sampling import next_token_probabilities, pick
from minigpt.inference.packed import InferenceModel
from minigpt.model.cache import KVCache


@dataclass(frozen=True)
class GenerationStep:
    """What was picked (B), by which logits (B V, on the CPU)."""

    token_ids: Tensor
    logits: Tensor


@torch.inference_mode()
def generate(
    model: InferenceModel,
    prompt: Sequence[int] | Tensor,
    config: SamplingConfig,
    *,
    end_of_text: int,
    seed: int,
    n_samples: int = 1,
) -> Iterator[GenerationStep]:
    """Continue `prompt` (at least one token) `n_samples` times in one batch, up to `config.max_new_tokens` tokens.

    A prompt may also be several of one length (B T), each of which is continued once.
    A sample that has reached `end_of_text` repeats it; the iterator ends when all have. Where the text outgrows the
    context, the model goes on with the last half context of it: it forgets the beginning, and has room to write.
    """
    prompts = torch.as_tensor(prompt)
    prompts = prompts.expand(n_samples, -1) if prompts.ndim == 1 else prompts  # B T
    n_samples = len(prompts)
    assert prompts.shape[1], "a prompt has at least one token; begin an empty one with end_of_text"
    generator = torch.Generator().manual_seed(seed)
    context_length = model.config.context_length
    text = list(prompts.split(1, 1))  # columns (B 1), to which the new ones come
    seen = torch.zeros(n_samples, model.config.vocab_size or 0, dtype=torch.bool).scatter_(1, prompts, value=True)
    finished = torch.zeros(n_samples, dtype=torch.bool)
    cache = KVCache(model.config, prompts.shape[1] + config.max_new_tokens)
    unread = torch.cat(text[-context_length:], 1)
    if (unread == unread[:1]).all():
        unread = unread[:1]  # prefill what all texts begin with once
    for _ in range(config.max_new_tokens):
        if cache.length + unread.shape[1] > context_length:
            cache.clear()
            unread = torch.cat(text[-max(1, context_length // 2) :], 1)
        logits = model.next_logits(unread, cache)
        if len(logits) < n_samples:
            logits = logits.repeat(n_samples, 1)
            cache.spread(n_samples)
        probabilities = next_token_probabilities(logits, seen, config)
        token_ids = pick(probabilities, config, generator).masked_fill(finished, end_of_text)
        yield GenerationStep(token_ids, logits)
        finished |= token_ids == end_of_text
        if finished.all():
            return
        unread = token_ids[:, None]
        text.append(unread)
        seen.scatter_(1, unread, value=True)
