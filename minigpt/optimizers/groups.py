"""Which parameter is trained by which optimizer, and all optimizers as one."""

from typing import Any

import torch
from torch import nn

from minigpt.config import OptimizerConfig
from minigpt.optimizers.muon import Muon

StateDict = dict[str, Any]


class Optimizers:
    """Several optimizers that step together, each with its own peak learning rate."""

    def __init__(self, optimizers: list[torch.optim.Optimizer]) -> None:
        self.optimizers = optimizers
        self.groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        self.peaks = [float(group["lr"]) for group in self.groups]

    def step(self, factor: float) -> None:
        """One update at `factor` times the peak learning rates; gradients are then forgotten."""
        for group, peak in zip(self.groups, self.peaks, strict=True):
            group["lr"] = factor * peak
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> list[StateDict]:
        """Everything that an exact continuation needs."""
        return [optimizer.state_dict() for optimizer in self.optimizers]

    def load_state_dict(self, states: list[StateDict]) -> None:
        """Take over the state that `state_dict` gave; the peak learning rates stay those of the config."""
        for optimizer, state in zip(self.optimizers, states, strict=True):
            optimizer.load_state_dict(state)
        self.groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]


def make_optimizers(model: nn.Module, config: OptimizerConfig, dtype: torch.dtype) -> Optimizers:
    """Muon for the matrices of the blocks and AdamW for the rest, or AdamW for all; `dtype`: of Muon's products."""
    matrices, embeddings, vectors = split_parameters(model)
    rest_rate = config.adamw_learning_rate if config.name == "muon" else config.learning_rate
    groups = [
        {"params": embeddings, "weight_decay": 0.0},
        {"params": vectors, "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = []
    if config.name == "muon":
        optimizers.append(
            Muon(
                matrices,
                config.learning_rate,
                config.momentum,
                config.weight_decay,
                config.newton_schulz_steps,
                dtype,
            )
        )
    else:
        groups.append({"params": matrices, "weight_decay": config.weight_decay})
    groups = [group for group in groups if group["params"]]
    betas = (config.beta1, config.beta2)
    optimizers.append(torch.optim.AdamW(groups, lr=rest_rate, betas=betas, eps=config.epsilon, fused=True))
    return Optimizers(optimizers)


def split_parameters(model: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
    """Every trainable parameter once: matrices of the blocks, embeddings and output, vectors (norms, biases)."""
    matrices, embeddings, vectors = [], [], []
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2:
            vectors.append(parameter)
        elif "blocks." in name:
            matrices.append(parameter)
        else:
            embeddings.append(parameter)
    return matrices, embeddings, vectors
