"""What a caller may add to a run."""

from collections.abc import Callable
from dataclasses import dataclass

from minigpt.runs import RunFolder


@dataclass(frozen=True)
class Hooks:
    """Functions that the trainer calls."""

    on_evaluation: Callable[[RunFolder, int, float], None] | None = None
    """Told of every evaluation, in the first process: the run, the step, the validation loss."""
    rate_factor: Callable[[int], float] | None = None
    """Share of the peak learning rates at a step, instead of the schedule's."""


NO_HOOKS = Hooks()
