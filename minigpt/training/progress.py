"""How far a run has come."""

from pydantic import NonNegativeFloat, NonNegativeInt
from pydantic.dataclasses import dataclass

SMOOTHING = 0.9
"""Share of the mean loss that is kept from step to step."""
RISEN = 1.1
"""A mean loss so many times the lowest so far has risen."""


@dataclass
class Progress:
    """How far a run has come. With the seed it fixes every random number and every batch that is still to come."""

    step: NonNegativeInt = 0
    tokens: NonNegativeInt = 0
    seconds: NonNegativeFloat = 0.0
    best_loss: float | None = None
    best_step: NonNegativeInt | None = None
    stale_evaluations: NonNegativeInt = 0
    """Evaluations since the best one."""
    mean_loss: float | None = None
    """Of the last training steps."""
    lowest_mean_loss: float | None = None
    metrics_bytes: NonNegativeInt = 0
    """Length of metrics.jsonl when the checkpoint was saved."""
    loss_scale: float = 2.0**16
    """Factor of the loss that keeps float16's gradients inside its range."""
    steps_in_range: NonNegativeInt = 0
    """Steps since it was last changed."""

    def follow(self, loss: float) -> None:
        """Take a step's training loss into the mean of the last ones."""
        before = loss if self.mean_loss is None else self.mean_loss
        self.mean_loss = SMOOTHING * before + (1 - SMOOTHING) * loss
        self.lowest_mean_loss = min(self.mean_loss, self.lowest_mean_loss or self.mean_loss)

    @property
    def risen(self) -> bool:
        """Whether the training loss has risen: a sign that the run diverges."""
        return self.mean_loss is not None and self.mean_loss > RISEN * (self.lowest_mean_loss or self.mean_loss)
