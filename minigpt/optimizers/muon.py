"""Muon: momentum whose update is made orthogonal, so that every direction of a matrix learns at the same speed.

Method: Keller Jordan, 'Muon: an optimizer for hidden layers in neural networks' (2024).
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised by Newton-Schulz iterations; for matrices only.

    `groups` are dictionaries of `params` and their `lr`. `dtype` is that of the iterations; weights and momentum keep
    their own.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        momentum: float,
        weight_decay: float,
        newton_schulz_steps: int,
        dtype: torch.dtype,
    ) -> None:
        super().__init__(groups, {"momentum": momentum, "weight_decay": weight_decay})
        self.newton_schulz_steps, self.dtype = newton_schulz_steps, dtype

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update all matrices; those of one shape are orthogonalised together, in one batched product."""
        assert closure is None
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[Tensor]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape].append(parameter)
            for shape, parameters in by_shape.items():
                updates = orthogonalise(self._nesterov(parameters, group), self.newton_schulz_steps)
                scale = max(1.0, shape[0] / shape[1]) ** 0.5  # tall matrices: the same change per output
                torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(parameters, updates.float().unbind(), alpha=-group["lr"] * scale)

    def _nesterov(self, parameters: list[Tensor], group: dict[str, float]) -> Tensor:
        """Stacked look-ahead momentum (N rows columns) of same-shaped parameters."""
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        momenta = [self.state[parameter]["momentum"] for parameter in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        return torch.stack(torch._foreach_lerp(gradients, momenta, group["momentum"])).to(self.dtype)


def orthogonalise(matrices: Tensor, steps: int) -> Tensor:
    """Each matrix U S Vᵀ of N rows columns becomes about U Vᵀ: singular values end between 0.7 and 1.2.

    Newton-Schulz iterations of odd quintic polynomials, whose coefficients raise small singular values fastest.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    wide = matrices.shape[1] <= matrices.shape[2]
    x = matrices if wide else matrices.mT  # the smaller product is the cheaper one
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if wide else x.mT
