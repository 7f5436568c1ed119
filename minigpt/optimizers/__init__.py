"""From gradients to updates."""

from minigpt.optimizers.groups import Optimizers, make_optimizers
from minigpt.optimizers.schedule import learning_rate_factor

__all__ = ["Optimizers", "learning_rate_factor", "make_optimizers"]
