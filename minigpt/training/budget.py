"""How far a run is."""

from minigpt.config.hyperparameters import Config, TrainingConfig


def share_spent(limits: TrainingConfig, steps: int, seconds: float) -> float:
    """Share of a run's budget that is used up: of its steps or its minutes, whichever is further."""
    by_steps = steps / limits.max_steps if limits.max_steps else 0.0
    by_clock = seconds / (60 * limits.max_minutes) if limits.max_minutes else 0.0
    return max(by_steps, by_clock)


def tokens_per_step(config: Config) -> int:
    """Tokens of all micro-batches of a step, over all processes."""
    training = config.training
    return training.batch_size * training.gradient_accumulation_steps * config.model.context_length
