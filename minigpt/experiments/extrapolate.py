"""From small runs to a larger one: a law is fitted to loss against compute, and continued (after Kaplan 2020)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from minigpt.config.hyperparameters import Config
from minigpt.config.keys import flatten
from minigpt.config.recipe import check_chosen, load_recipe
from minigpt.errors import UserError
from minigpt.experiments.plan import plan
from minigpt.experiments.throughput import training_flops
from minigpt.model.gpt import outline
from minigpt.runs import open_folder
from minigpt.training.budget import tokens_per_step
from minigpt.training.metrics import read_metrics

Numbers = NDArray[np.float64]

NOISE = 0.003
"""Relative standard deviation of a run's loss by its seed alone, where the fit does not show a larger one."""
FLOORS = 400
"""Values that are tried for the lowest loss that any compute could reach."""
PROBABLE, WIDE = 3.84, 1.96
"""The 95% quantiles of chi-squared with one degree of freedom, and of the normal distribution on both sides."""


@dataclass(frozen=True)
class Prediction:
    """A loss (nats per token), and the interval in which it lies with a probability of 95%, if the law holds."""

    loss: float
    low: float
    high: float
    compute: float
    times_largest: float

    def describe(self, recipe: Path) -> str:
        """For people."""
        return (
            f"{recipe} with {self.compute:.2e} operations, {self.times_largest:.1f} times the largest run's, "
            f"is predicted to reach a loss of {self.loss:.4f} (95%: {self.low:.4f} to {self.high:.4f})"
        )


def extrapolate(paths: Sequence[Path], recipe: Path) -> Prediction:
    """What `recipe` would reach, by runs of the same data (three or more of different compute)."""
    points = [point for point in map(_point, paths) if point]
    if len({round(compute, -3) for compute, _ in points}) < 3:
        need = "needs three runs or more that ended with different compute; name more, or leave it away"
        raise UserError(f"command line: --extrapolate {need}")
    config, known = load_recipe(recipe), load_recipe(open_folder(paths[0]).config)
    check_chosen(config, recipe)
    here, there = flatten(config), flatten(known)
    for key in ("data.source", "tokenizer.kind", "tokenizer.vocab_size"):
        if here[key] != there[key]:
            raise UserError(
                f"{recipe}: {key} = {here[key]}: the runs have {there[key]}, and a law holds for one text only; "
                "write that into the recipe"
            )
    shape = config.model.model_copy(update={"vocab_size": known.model.vocab_size})
    config = config.model_copy(update={"model": shape})
    compute = float(_flops_per_token(config) * tokens_of(config))
    computes, losses = (np.array(values) for values in zip(*points, strict=True))
    loss, low, high = predict(computes, losses, compute)
    return Prediction(loss, low, high, compute, compute / float(computes.max()))


def predict(computes: Numbers, losses: Numbers, compute: float) -> tuple[float, float, float]:
    """Loss at `compute` by the law loss = floor + factor · compute^-power, and its 95% interval.

    For each possible floor the other two follow from a weighted line through the logarithms. The interval spans those
    of all floors whose lines fit the runs about as well as the best one's.
    """
    x, target = np.log(computes), np.log(compute)
    design = np.stack((np.ones_like(x), x), 1)
    fits = []
    for floor in np.linspace(0.0, 0.999 * losses.min(), FLOORS):
        y, weights = np.log(losses - floor), ((losses - floor) / (NOISE * losses)) ** 2
        covariance = np.linalg.inv(design.T * weights @ design)
        line = covariance @ (design.T * weights @ y)
        if line[1] > 0:
            continue  # more compute would be worse
        misfit = float(np.sum(weights * (y - design @ line) ** 2))
        at = np.array((1.0, target))
        above = float(np.exp(at @ line))
        fits.append((misfit, floor + above, above * float(np.sqrt(at @ covariance @ at)) + NOISE * (floor + above)))
    if not fits:
        raise UserError("command line: --extrapolate: these runs do not become better with compute; leave it away")
    freedom = len(losses) - 3
    best = min(fits)
    scale = max(1.0, best[0] / freedom) if freedom > 0 else 1.0  # the runs scatter more than seeds do
    probable = [fit for fit in fits if fit[0] - best[0] <= PROBABLE * scale]
    width = WIDE * scale**0.5
    low, high = min(loss - width * sd for _, loss, sd in probable), max(loss + width * sd for _, loss, sd in probable)
    return float(best[1]), float(low), float(high)


def _point(path: Path) -> tuple[float, float] | None:
    """Compute and last validation loss of a run; None where it was not evaluated."""
    folder = open_folder(path)
    config = load_recipe(folder.config)
    evaluations = [line for line in read_metrics(folder) if "validation_loss" in line]
    if not evaluations:
        return None
    last = evaluations[-1]
    return float(_flops_per_token(config) * last["tokens"]), float(last["validation_loss"])


def tokens_of(config: Config) -> int:
    """Tokens that a recipe trains on: by its steps, or where its budget is time, by what this machine does in it."""
    training = config.training
    if training.max_minutes or not training.max_steps:
        return plan(config).tokens
    return training.max_steps * tokens_per_step(config)


def _flops_per_token(config: Config) -> int:
    return training_flops(config.model, outline(config.model))
