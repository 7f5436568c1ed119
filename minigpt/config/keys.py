"""Hyperparameters by their names, `section.key`."""

from typing import Any

from minigpt.config.hyperparameters import Config


def flatten(config: Config) -> dict[str, Any]:
    """`section.key` of every hyperparameter, with its value."""
    return {f"{name}.{key}": value for name, section in config.model_dump().items() for key, value in section.items()}


def follows(config: Config, name: str) -> bool:
    """Whether a hyperparameter has just the value that it gets from the others where nobody sets it."""
    section, key = name.split(".", 1)
    values = getattr(config, section).model_dump()
    value, default = values.pop(key), type(getattr(config, section)).model_fields[key].default
    return default is None and getattr(type(getattr(config, section))(**values), key) == value
