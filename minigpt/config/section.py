"""What the parts of YAML files have in common."""

from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, ValidationInfo, field_validator


class Section(BaseModel):
    """Strict and immutable: a typing error in a file is an error, not a silent default."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)

    @field_validator("*", mode="before")
    @classmethod
    def refuse_truth(cls, value: Any, info: ValidationInfo) -> Any:
        """YAML's true is neither the number 1 nor a text."""
        annotation = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and annotation is not bool and True not in get_args(annotation):
            if holds(annotation, str):
                raise ValueError("must not be true or false; write a text that says so in quotes")
            if holds(annotation, int, float):
                raise ValueError("must not be true or false; write a number")
        return value


def holds(annotation: Any, *kinds: type) -> bool:
    """Whether a key of that type holds a value of one of these kinds."""
    return annotation in kinds or any(holds(part, *kinds) for part in get_args(annotation))
