"""A loss that is no number any more: where the run was still good, and how to go on from there."""

from minigpt.errors import UserError, typed
from minigpt.runs import STATE, RunFolder, kept_steps, read_metadata


def diverged(folder: RunFolder, step: int, what: str) -> UserError:
    """What to tell when a run has diverged at a step: what is no number, and how to go on."""
    states = (kept for kept in kept_steps(folder) if (folder.checkpoint(kept) / STATE).is_file())
    good = max(kept for kept in states if not read_metadata(folder, kept).risen)
    return UserError(
        f"{folder.path}: step {step}: {what}; the last checkpoint before the loss rose is step {good}; go on with: "
        f"minigpt train --resume {typed(folder.path)} --checkpoint {good} and a lower optimizer.learning_rate or "
        "training.gradient_clip, a higher schedule.warmup_steps, or run.precision=float32"
    )
