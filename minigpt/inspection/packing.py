"""Arrays as text in a page: base64 of float32, or of 16-bit integers where there are many."""

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minigpt.model.gpt import GPT

Numbers = NDArray[np.float32]
ROOM = 5_000_000
"""Weights that a page has room for: 13 MB of it."""
STEPS = 32_767
"""Of a row's largest number, each way."""


def pack(array: Numbers) -> dict[str, Any]:
    """An array as it is: all digits that are shown are right."""
    return {"shape": list(array.shape), "data": _text(array.astype("<f4"))}


def pack_half(array: Numbers) -> dict[str, Any]:
    """In half the room, as float16: right to three digits, of which a page then shows two."""
    limit = float(np.finfo(np.float16).max)
    return {"shape": list(array.shape), "half": _text(np.clip(array, -limit, limit).astype("<f2"))}


def pack_rows(array: Numbers) -> dict[str, Any]:
    """In half the room: each row in steps of a 32,767th of its largest number."""
    largest = np.abs(array).max(-1, keepdims=True)
    steps = np.round(array / np.where(largest > 0, largest, 1) * STEPS)
    return {
        "shape": list(array.shape),
        "steps": _text(steps.astype("<i2")),
        "unit": _text((largest / STEPS).astype("<f4")),
    }


def pack_weights(model: GPT) -> dict[str, Any]:
    """Gains and biases, and the matrices of the blocks where a page has room for them.

    The embedding goes by its rows, of which there may be fewer.
    """
    named = [(name, value) for name, value in model.named_parameters() if not name.startswith("token_embedding")]
    fits = model.n_parameters() <= ROOM
    return {
        name: pack(array) if array.ndim == 1 else pack_rows(array)
        for name, array in ((name, weight_array(value)) for name, value in named if value.ndim == 1 or fits)
    }


def weight_array(parameter: Any) -> Numbers:
    """A parameter's numbers (float32)."""
    array: Numbers = parameter.detach().float().cpu().numpy()
    return array


def _text(array: NDArray[Any]) -> str:
    return base64.b64encode(array.tobytes()).decode()
