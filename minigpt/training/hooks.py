"""What a caller may add to a run."""

from collections.abc import Callable
from dataclasses import dataclass

from minigpt.config.hyperparameters import Config
from minigpt.data.sources import Source
from minigpt.runs import RunFolder
from minigpt.training.corpus import Corpus


@dataclass(frozen=True)
class Hooks:
    """Functions that the trainer calls."""

    on_start: Callable[[RunFolder], None] | None = None
    """Told of the run when its folder is there, in the first process."""
    on_evaluation: Callable[[RunFolder, float, float], None] | None = None
    """Told of every evaluation, in the first process: the run, the share of its budget that is used up, the loss."""
    on_end: Callable[[RunFolder, Corpus], None] | None = None
    """Told of the end of training, in the first process: the run, and what it learned from."""
    choose: Callable[[Config, Source, int], Config] | None = None
    """Chooses what a recipe leaves open (`auto`), for a source and a number of processes, in the first of them."""
    rate_factor: Callable[[int], float] | None = None
    """Share of the peak learning rates at a step, instead of the schedule's."""


NO_HOOKS = Hooks()
