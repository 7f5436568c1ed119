"""The learning rate over a run: up, flat, down (warm-up, stable, decay: Hu 2024, 'MiniCPM')."""

import math

from minigpt.config.hyperparameters import ScheduleConfig


def learning_rate_factor(config: ScheduleConfig, step: int, progress: float) -> float:
    """Share of the peak learning rate at a step (from 0), when `progress` (0 to 1) of the run's budget is spent."""
    warmup = min(1.0, (step + 1) / (config.warmup_steps + 1))
    if config.cooldown_fraction == 0:
        return warmup
    remaining = min(1.0, (1 - min(progress, 1.0)) / config.cooldown_fraction)  # 1 until the cool-down, then to 0
    if config.cooldown_shape == "cosine":
        remaining = (1 - math.cos(math.pi * remaining)) / 2
    return warmup * (config.final_fraction + (1 - config.final_fraction) * remaining)
