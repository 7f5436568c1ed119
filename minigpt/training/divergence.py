"""A loss that is no number any more: where the run was still good, and how to go on from there."""

from contextlib import suppress

from minigpt.errors import UserError, typed
from minigpt.runs import STATE, RunFolder, kept_steps, read_metadata
from minigpt.storage.checksums import DamageError

REMEDY = (
    "a lower optimizer.learning_rate or training.gradient_clip, a higher schedule.warmup_steps, or "
    "run.precision=float32"
)


def diverged(folder: RunFolder, step: int, what: str) -> UserError:
    """What to tell when a run has diverged at a step: what is no number, and how to go on."""
    good = None
    for kept in kept_steps(folder, STATE):
        with suppress(DamageError):
            good = good if read_metadata(folder, kept).risen else kept
    again = "no checkpoint from before the loss rose is left; begin anew with"
    if good is not None:
        again = f"the last checkpoint before the loss rose is step {good}; go on with: minigpt train --resume "
        again += f"{typed(folder.path)} --checkpoint {good} and"
    return UserError(f"{folder.path}: step {step}: {what}; {again} {REMEDY}")
