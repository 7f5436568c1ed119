"""Hyperparameters by their names, `section.key`."""

from typing import Any

from minigpt.config.hyperparameters import Config


def flatten(config: Config) -> dict[str, Any]:
    """`section.key` of every hyperparameter, with its value."""
    return {f"{name}.{key}": value for name, section in config.model_dump().items() for key, value in section.items()}


def follows(config: Config, name: str) -> bool:
    """Whether a hyperparameter has just the value that it gets from the others where nobody sets it."""
    section, key = name.split(".", 1)
    values = getattr(config, section)
    kind, others = type(values), values.model_dump(exclude={key})
    if kind.model_fields[key].default is not None:
        return False
    try:
        return bool(getattr(kind(**others), key) == getattr(values, key))
    except ValueError:  # the others give no value for it
        return False
