"""The training loss: cross-entropy over the vocabulary, worked out for some of the tokens at a time."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minigpt.hardware.memory import tokens_at_once
from minigpt.model.gpt import GPT

ALIGNMENT = 64
"""On GPUs, rows of logits whose number is no multiple of it slow the matmuls down several times."""


class TrainingLoss(nn.Module):
    """Mean loss of a model's predictions in nats per token, for training: the logits themselves are never kept."""

    def __init__(self, model: GPT, dtype: torch.dtype, compiled: bool) -> None:
        super().__init__()
        self.model, self.dtype = model, dtype
        self.softmax_gradient = torch.compile(softmax_gradient) if compiled else softmax_gradient

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:  # B T, B T -> one number
        hidden = self.model.hidden(inputs).flatten(0, 1)  # (B T) D
        weight = self.model.lm_head.weight
        loss: Tensor = ChunkedCrossEntropy.apply(hidden, weight, targets.flatten(), self.dtype, self.softmax_gradient)
        return loss


class ChunkedCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of `hidden @ weight.T` (N D, V D) against `targets` (N).

    The gradient of a chunk's logits is known as soon as the logits are (softmax minus one-hot), so it is turned into
    those of `hidden` and `weight` at once, and the next chunk takes its place (Hsu 2024, 'Liger Kernel').
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        dtype: torch.dtype,
        gradient_of: Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]],
    ) -> Tensor:
        x, vocab_size = hidden.to(dtype), len(weight)
        w = F.pad(weight.to(dtype), (0, 0, 0, -vocab_size % ALIGNMENT)) if weight.is_cuda else weight.to(dtype)
        n_chunks = -(-len(x) // tokens_at_once(vocab_size, weight.shape[1], weight.device))
        nats = torch.zeros((), device=x.device)
        hidden_gradient = torch.empty_like(x)
        weight_gradient = torch.zeros(w.shape, device=weight.device)
        parts = zip(x.chunk(n_chunks), targets.chunk(n_chunks), hidden_gradient.chunk(n_chunks), strict=True)
        for x_part, target_part, gradient_part in parts:
            part, gradient = gradient_of(x_part @ w.T, target_part, vocab_size)
            nats += part
            torch.mm(gradient, w, out=gradient_part)
            weight_gradient += gradient.T @ x_part
        ctx.save_for_backward(hidden_gradient, weight_gradient[:vocab_size])
        return nats / len(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        hidden_gradient, weight_gradient = ctx.saved_tensors
        scale = gradient / len(hidden_gradient)
        return hidden_gradient * scale, weight_gradient * scale, None, None, None


def softmax_gradient(logits: Tensor, targets: Tensor, vocab_size: int) -> tuple[Tensor, Tensor]:
    """Sum of the nats of `targets` (N) under `logits` (N V), and its gradient by the logits, in their dtype.

    Of logits beyond the vocabulary, which only fill up the rows, the gradient is 0. A token counts at most 87 nats,
    beyond which float32 knows no probability.
    """
    n_words = logits.shape[1]
    if n_words > vocab_size:
        logits = logits.masked_fill(torch.arange(n_words, device=logits.device) >= vocab_size, -math.inf)
    probabilities = logits.softmax(-1, dtype=torch.float32)
    target = torch.arange(len(targets), device=logits.device), targets
    probability = probabilities[target]
    nats = -probability.clamp_min(torch.finfo(torch.float32).tiny).log().sum()
    gradient = probabilities.to(logits.dtype)
    gradient[target] = (probability - 1).to(logits.dtype)
    return nats, gradient
