"""Which parameter is trained by which optimizer, and all optimizers as one."""

from typing import Any

import torch
from torch import nn

from minigpt.config.hyperparameters import Config
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
        self.forget_gradients()

    def forget_gradients(self) -> None:
        """Those of the next step begin anew."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> list[StateDict]:
        """Everything that an exact continuation needs."""
        return [optimizer.state_dict() for optimizer in self.optimizers]

    def load_state_dict(self, states: list[StateDict]) -> None:
        """Take over the state that `state_dict` gave; rates, decays and the like stay those of the config."""
        for optimizer, state in zip(self.optimizers, states, strict=True):
            settings = [{key: group[key] for key in group if key != "params"} for group in optimizer.param_groups]
            optimizer.load_state_dict(state)
            for group, setting in zip(optimizer.param_groups, settings, strict=True):
                group.update(setting)
        self.groups = [group for optimizer in self.optimizers for group in optimizer.param_groups]


def make_optimizers(model: nn.Module, recipe: Config, dtype: torch.dtype) -> Optimizers:
    """Muon for the matrices of the blocks and AdamW for the rest, or AdamW for all; `dtype`: of Muon's matmuls.

    An update of AdamW changes each weight by about the learning rate, and what a matrix makes of its input by the sum
    of as many changes as it has inputs: so its rate for matrices goes down as the width goes up (Yang 2022, 'Tensor
    Programs V'). An update of Muon has a size of its own, whatever the width.
    """
    parts, config = split_parameters(model), recipe.optimizer
    narrowness = recipe.model.reference_width / recipe.model.d_model
    rest_rate = config.learning_rate if config.name == "adamw" else config.adamw_learning_rate
    groups: list[StateDict] = [
        {"params": parts["embeddings"], "weight_decay": 0.0, "lr": rest_rate * narrowness},
        {"params": parts["vectors"], "weight_decay": 0.0, "lr": rest_rate},
    ]
    matrices = [
        {"params": parts["inner"], "lr": config.learning_rate},
        {"params": parts["residual"], "lr": config.learning_rate * config.residual_fraction},
    ]
    optimizers: list[torch.optim.Optimizer] = []
    if config.name == "muon":
        iterations, interval = config.newton_schulz_steps, config.muon_interval
        settings = (config.momentum, config.muon_beta2, config.weight_decay, iterations, interval)
        optimizers.append(Muon(matrices, *settings, dtype))
    else:
        params = parts["inner"] + parts["residual"]
        decay = config.weight_decay / narrowness  # torch multiplies it by the rate
        groups.append({"params": params, "weight_decay": decay, "lr": rest_rate * narrowness})
    groups = [group for group in groups if group["params"]]
    betas = (config.beta1, config.beta2)
    optimizers.append(torch.optim.AdamW(groups, betas=betas, eps=config.epsilon, fused=True))
    return Optimizers(optimizers)


def split_parameters(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Every trainable parameter once.

    `residual`: matrices of the blocks that write into the residual stream; `inner`: their other matrices;
    `embeddings`: token embeddings and output; `vectors`: norms, biases and learned positions, which enter as they are.
    """
    parts: dict[str, list[nn.Parameter]] = {"inner": [], "residual": [], "embeddings": [], "vectors": []}
    for name, parameter in model.named_parameters():
        if parameter.ndim < 2 or name.startswith("position_embedding"):
            parts["vectors"].append(parameter)
        elif "blocks." not in name:
            parts["embeddings"].append(parameter)
        else:
            parts["residual" if name.endswith(("o_proj.weight", "down_proj.weight")) else "inner"].append(parameter)
    return parts
