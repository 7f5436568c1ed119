"""How good is the model? Loss in nats per token, perplexity, and bits per byte, which tokenizers cannot flatter."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from minigpt.data.batches import IGNORED
from minigpt.hardware.memory import tokens_at_once
from minigpt.model.gpt import GPT
from minigpt.tokenizers import Tokenizer

TOKENS_AT_ONCE = 8192
"""Tokens that a model reads at once when it is evaluated."""


@dataclass(frozen=True)
class Evaluation:
    """What a model makes of a text: `nats` is the sum of -log p over its tokens."""

    nats: float
    tokens: int
    bytes: int

    @property
    def loss(self) -> float:
        """Nats per token."""
        return self.nats / self.tokens

    @property
    def perplexity(self) -> float:
        """exp(loss): among how many equally likely tokens the model still wavers."""
        return math.exp(min(self.loss, 700.0))

    @property
    def bits_per_byte(self) -> float:
        """Bits that the model needs for a byte of the text: comparable across tokenizers."""
        return self.nats / math.log(2) / max(self.bytes, 1)


@torch.inference_mode()
def evaluate(model: GPT, windows: Iterable[tuple[Tensor, Tensor]], tokenizer: Tokenizer) -> Evaluation:
    """Score every target of `windows` (inputs and targets, B T; a target of -100 is only context)."""
    lengths = torch.tensor([len(piece) for piece in tokenizer.token_bytes])
    device = model.device
    at_once = tokens_at_once(tokenizer.vocab_size, model.config.d_model, device)
    was_training = model.training
    model.eval()
    nats, tokens, n_bytes = 0.0, 0, 0
    for inputs, targets in windows:
        hidden, wanted = model.hidden(inputs.to(device)).flatten(0, 1), targets.to(device).flatten()
        for some, their in zip(hidden.split(at_once), wanted.split(at_once), strict=True):
            logits = model.lm_head(some).float()
            nats += F.cross_entropy(logits, their, ignore_index=IGNORED, reduction="sum").item()
        scored = targets != IGNORED
        n_documents = int((inputs[scored] == tokenizer.begin_of_text).sum())
        tokens += int(scored.sum())
        n_bytes += int(lengths[targets[scored]].sum()) - n_documents * tokenizer.added_bytes
    model.train(was_training)
    return Evaluation(nats, tokens, n_bytes)
