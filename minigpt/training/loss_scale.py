"""float16 has a small range: the loss is scaled so that the gradients stay inside (Micikevicius 2018)."""

import math
from collections.abc import Callable

from minigpt.training.progress import Progress

STEPS = 1000
"""After so many steps without an overflow the scale is doubled."""


def in_range(gradients: Callable[[float], tuple[float, float]], progress: Progress) -> tuple[float, float]:
    """What `gradients` of a scale gives, a loss and a norm; where the norm overflows, again with half the scale.

    No step is lost, and the scale is part of the run's progress.
    """
    while not math.isfinite((found := gradients(progress.loss_scale))[1]) and progress.loss_scale > 1:
        progress.loss_scale, progress.steps_in_range = progress.loss_scale / 2, 0
    progress.steps_in_range += 1
    if progress.steps_in_range == STEPS:
        progress.loss_scale, progress.steps_in_range = progress.loss_scale * 2, 0
    return found
