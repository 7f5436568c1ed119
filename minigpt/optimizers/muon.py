"""Muon: momentum whose update is made orthogonal, so that every direction of a matrix learns at the same speed.

Method: Keller Jordan, 'Muon: an optimizer for hidden layers in neural networks' (2024); the longer side's balance from
Li 2025, 'NorMuon'.
"""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

EPSILON = 1e-12


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, orthogonalised by Newton-Schulz iterations; for matrices only.

    `groups` are dictionaries of `params` and their `lr`. `dtype` is that of the iterations; weights and momentum keep
    their own. `beta2` is the memory of how large an update's rows or columns, whichever are more, have been: they are
    brought to one size, since the iterations do that to the fewer ones only; None leaves them. With an `interval` above
    1 the matrices take turns: the momentum hardly changes from one step to the next, so each matrix may wait for
    several steps and then go as many times as far.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        momentum: float,
        beta2: float | None,
        weight_decay: float,
        newton_schulz_steps: int,
        interval: int,
        dtype: torch.dtype,
    ) -> None:
        super().__init__(groups, {"weight_decay": weight_decay})
        self.momentum, self.beta2 = momentum, beta2
        self.newton_schulz_steps, self.interval, self.dtype = newton_schulz_steps, interval, dtype

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        """Update all matrices; those of one shape, or of its transpose, go through one batch of matmuls."""
        by_shape: dict[tuple[int, ...], list[tuple[Tensor, dict[str, Any]]]] = defaultdict(list)
        for group in self.param_groups:
            group["n_steps"] = group.get("n_steps", 0) + 1
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[tuple(sorted(parameter.shape))].append((parameter, group))
        for members in by_shape.values():
            self._remember([parameter for parameter, _ in members])
            members = members[members[0][1]["n_steps"] % self.interval :: self.interval]
            if not members:
                continue
            parameters = [parameter for parameter, _ in members]
            ahead = self._ahead(parameters)
            updates = orthogonalise(ahead, self.newton_schulz_steps, self.dtype)
            if self.beta2 is not None:
                updates = self._balance(parameters, updates, self.beta2)
            for (parameter, group), update in zip(members, updates, strict=True):
                n_rows, n_columns = parameter.shape
                scale = max(1.0, n_rows / n_columns) ** 0.5  # tall matrices: the same change per output
                rate = group["lr"] * self.interval
                if group["weight_decay"]:
                    parameter.mul_(1 - rate * group["weight_decay"])
                parameter.add_(update if n_rows < n_columns else update.mT, alpha=-rate * scale)

    def _remember(self, parameters: list[Tensor]) -> None:
        """Take the gradients into the momentum."""
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        torch._foreach_lerp_(*self._momenta_and_gradients(parameters), 1 - self.momentum)

    def _ahead(self, parameters: list[Tensor]) -> Tensor:
        """Stacked look-ahead momentum (N rows columns) of matrices of more columns than rows, the others transposed."""
        momenta, gradients = self._momenta_and_gradients(parameters)
        ahead = torch._foreach_lerp(gradients, momenta, self.momentum)
        return torch.stack([x if x.shape[0] < x.shape[1] else x.mT for x in ahead])

    def _balance(self, parameters: list[Tensor], updates: Tensor, beta2: float) -> Tensor:
        """The updates (N rows columns, rows <= columns), as large as before, with columns that are equal over time."""
        new = list(updates.float().square().mean(1))
        known = [self.state[p].setdefault("square", square) for p, square in zip(parameters, new, strict=True)]
        torch._foreach_lerp_(known, new, 1 - beta2)
        balanced = updates * (torch.stack(known)[:, None] + EPSILON).rsqrt()
        return balanced * (_size(updates) / (_size(balanced) + EPSILON))

    def _momenta_and_gradients(self, parameters: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        return [self.state[parameter]["momentum"] for parameter in parameters], gradients


def orthogonalise(matrices: Tensor, steps: int, dtype: torch.dtype) -> Tensor:
    """Each matrix U S Vᵀ of N rows columns (rows <= columns) becomes about U Vᵀ: singular values from 0.7 to 1.2.

    Newton-Schulz iterations of odd quintic polynomials, whose coefficients raise small singular values fastest.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = (matrices / (_size(matrices) + 1e-7)).to(dtype)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def _size(matrices: Tensor) -> Tensor:
    return matrices.norm(dim=(1, 2), keepdim=True)
