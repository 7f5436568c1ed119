"""One token after the other: the iterator behind every text that minigpt writes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from minigpt.config import SamplingConfig
from minigpt.generation.sampling import draw, next_token_probabilities
from minigpt.model.cache import Cache
from minigpt.model.gpt import GPT


@dataclass(frozen=True)
class GenerationStep:
    """What was picked (B), out of which logits and probabilities (B V, on the CPU)."""

    token_ids: Tensor
    logits: Tensor
    probabilities: Tensor


@torch.inference_mode()
def generate(
    model: GPT,
    prompt: Sequence[int],
    config: SamplingConfig,
    *,
    end_of_text: int,
    seed: int,
    n_samples: int = 1,
) -> Iterator[GenerationStep]:
    """Continue `prompt` (at least one token) `n_samples` times in one batch, up to `config.max_new_tokens` tokens.

    A sample that has reached `end_of_text` repeats it; the iterator ends when all have. Where the text outgrows the
    context, the model goes on with the last half context of it: it forgets the beginning, and has room to write.
    """
    assert prompt, "a prompt has at least one token; begin an empty one with end_of_text"
    device = model.token_embedding.weight.device
    generator = torch.Generator().manual_seed(seed)
    context_length = model.config.context_length
    text = torch.tensor(prompt).repeat(n_samples, 1)  # B T, grows
    seen = torch.zeros(n_samples, model.lm_head.out_features, dtype=torch.bool)
    seen[:, text[0]] = True
    finished = torch.zeros(n_samples, dtype=torch.bool)
    cache = Cache(model.config)
    unread = text[:, -context_length:]
    for _ in range(config.max_new_tokens):
        if cache.length + unread.shape[1] > context_length:
            cache.clear()
            unread = text[:, -max(1, context_length // 2) :]
        logits = model(unread.to(device), cache)[:, -1].float().cpu()
        probabilities = next_token_probabilities(logits, seen, config)
        token_ids = draw(probabilities, generator).masked_fill(finished, end_of_text)
        yield GenerationStep(token_ids, logits, probabilities)
        finished |= token_ids == end_of_text
        if finished.all():
            return
        unread = token_ids[:, None]
        text = torch.cat((text, unread), 1)
        seen.scatter_(1, unread, value=True)
