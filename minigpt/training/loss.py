"""The training loss: cross-entropy over the vocabulary, worked out a few hundred tokens at a time."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from minigpt.hardware.memory import CHUNK, CHUNK_TOKENS
from minigpt.model.gpt import GPT


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
        gradient_of: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    ) -> Tensor:
        x, w = hidden.to(dtype), weight.to(dtype)
        n_chunks = min(1 << (len(x) * len(w) // CHUNK).bit_length(), max(1, len(x) // CHUNK_TOKENS))
        nats = torch.zeros((), device=x.device)
        hidden_gradient, weight_gradient = torch.empty_like(x), torch.zeros_like(weight)
        parts = zip(x.chunk(n_chunks), targets.chunk(n_chunks), hidden_gradient.chunk(n_chunks), strict=True)
        for x_part, target_part, gradient_part in parts:
            part, gradient = gradient_of(x_part @ w.T, target_part)
            nats += part
            torch.mm(gradient, w, out=gradient_part)
            weight_gradient += gradient.T @ x_part
        ctx.save_for_backward(hidden_gradient, weight_gradient)
        return nats / len(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        hidden_gradient, weight_gradient = ctx.saved_tensors
        scale = gradient / len(hidden_gradient)
        return hidden_gradient * scale, weight_gradient * scale, None, None, None


def softmax_gradient(logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Sum of the nats of `targets` (N) under `logits` (N V), and its gradient by the logits, in their dtype."""
    log_probabilities = logits.float().log_softmax(-1)
    nats = -log_probabilities.gather(1, targets[:, None]).sum()
    is_target = torch.arange(logits.shape[1], device=logits.device) == targets[:, None]
    return nats, (log_probabilities.exp() - is_target.float()).to(logits.dtype)
