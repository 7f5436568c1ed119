"""How the widths of a model follow from each other."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from pydantic import ValidationInfo, field_validator, model_validator

from minigpt.config.section import Section


def nearest_width(d_model: int, model: Mapping[str, Any]) -> int:
    """The nearest width into which the heads fit that a recipe's section `model` asks for."""
    unit = _heads_unit({key: _whole(value) for key, value in model.items()})
    return max(1, round(d_model / unit)) * unit


def _whole(value: Any) -> Any:
    """A whole number also where it is written as 48.0 or in quotes; other values as they are."""
    try:
        return int(value) if value is not None and int(value) == float(value) else value
    except (TypeError, ValueError, OverflowError):
        return value


def _heads_unit(model: Mapping[str, Any]) -> int:
    match model:
        case {"n_heads": None, "d_head": int(d_head), "n_kv_heads": int(n_kv_heads)} if d_head * n_kv_heads > 0:
            return d_head * n_kv_heads
        case {"n_heads": None, "d_head": int(d_head)} if d_head > 0:
            return d_head
        case {"n_heads": int(n_heads)} if n_heads > 0 and model.get("d_head") is None:
            return 2 * n_heads  # rotary positions turn pairs of a head's numbers
    return 1


class Widths(Section):
    """What a model's section works out and refuses; its fields stand in hyperparameters.py."""

    if TYPE_CHECKING:
        vocab_size: int | None
        n_layers: int
        n_heads: int
        n_kv_heads: int
        d_model: int
        d_head: int
        d_ff: int
        feed_forward: str
        position: str

    @property
    def n_weights(self) -> int:
        """Numbers in the matrices of all blocks and in the embedding: nearly all that the model has, and never more."""
        attention = 2 * (self.n_heads + self.n_kv_heads) * self.d_head
        feed_forward = (3 if self.feed_forward == "swiglu" else 2) * self.d_ff
        return self.d_model * (self.n_layers * (attention + feed_forward) + (self.vocab_size or 0))

    @model_validator(mode="before")
    @classmethod
    def count_heads(cls, values: Any) -> Any:
        """Where `n_heads` is null, as many as make up d_model."""
        if not isinstance(values, dict) or values.get("n_heads", 1) is not None:
            return values
        d_model = _whole(values.get("d_model", cls.model_fields["d_model"].default))
        d_head = _whole(values.get("d_head"))
        if d_head is None:
            raise ValueError("n_heads and d_head are both null; give one of them")
        if not isinstance(d_model, int) or not isinstance(d_head, int) or d_head < 1:
            return {**values, "n_heads": 1}  # the wrong one's own message will be shown
        if d_model % d_head:
            raise ValueError(f"n_heads may be null only where d_head ({d_head}) divides d_model ({d_model})")
        return {**values, "n_heads": d_model // d_head}

    @field_validator("n_kv_heads", "d_head", "d_ff", "reference_width", mode="before", check_fields=False)
    @classmethod
    def derive(cls, value: Any, info: ValidationInfo) -> Any:
        """Work out a width that was left `null` from the fields before it."""
        if value is not None:
            return value
        try:
            match info.field_name:
                case "n_kv_heads":
                    return info.data["n_heads"]
                case "reference_width":
                    return info.data["d_model"]
                case "d_ff":
                    gelu, d_model = info.data["feed_forward"] == "gelu", info.data["d_model"]
                    return 4 * d_model if gelu else math.ceil(8 * d_model / 3 / 32) * 32
            d_model, n_heads = info.data["d_model"], info.data["n_heads"]
        except KeyError:
            return 1  # an earlier field is wrong and its own message will be shown
        if d_model % n_heads:
            raise ValueError(f"d_model ({d_model}) must be divisible by n_heads ({n_heads}), or give d_head itself")
        return d_model // n_heads

    @model_validator(mode="after")
    def check_heads(self) -> Self:
        """Refuse heads that cannot be grouped or rotated."""
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"n_heads ({self.n_heads}) must be divisible by n_kv_heads ({self.n_kv_heads})")
        if self.position == "rope" and self.d_head % 2:
            raise ValueError(f"d_head ({self.d_head}) must be even for position: rope, which turns pairs of numbers")
        return self
