"""Lines of `metrics.jsonl`, read and checked."""

import json
import math
from pathlib import Path
from typing import Any

from minigpt.errors import UserError
from minigpt.storage.checksums import KEY, checksum

Metrics = dict[str, Any]
LONGEST, LARGEST = 2**24, 2**29
"""Bytes of a line, and of all of them."""


def metrics_line(metrics: Metrics) -> str:
    """A line, with its checksum."""
    text = json.dumps(metrics, allow_nan=False)
    return f'{text[:-1]}, "{KEY}": "{checksum(text.encode())}"}}\n'


def parse_metrics(path: Path, n_bytes: float = math.inf, step: float = math.inf) -> tuple[list[Metrics], int]:
    """The whole lines among a file's first bytes, up to a step, and how many bytes they have.

    UserError where one is damaged. A line that does not end is still being written.
    """
    metrics: list[Metrics] = []
    length = 0
    if not path.exists():
        return metrics, length
    remedy = "restore the file, or delete it and do without curves"
    if not path.is_file() or (size := path.stat().st_size) > LARGEST:
        raise UserError(f"{path}: not a file of at most {LARGEST:,} bytes; {remedy}")
    with path.open("rb") as file:
        while length < n_bytes and (line := file.readline(LONGEST + 1)):
            if line[-1:] != b"\n" and length + len(line) == size:
                break
            try:
                values = json.loads(line) if len(line) <= LONGEST else None
                if not isinstance(values, dict) or not {"step", "tokens", "seconds"} <= values.keys():
                    raise ValueError
                if values.pop(KEY, None) != checksum(json.dumps(values).encode()):
                    raise ValueError
                if not all(_is_right(key, value) for key, value in values.items()):
                    raise ValueError
            except (ValueError, RecursionError):
                raise UserError(f"{path}, line {len(metrics) + 1}: not what was written; {remedy}") from None
            later = values["step"] - step + ("validation_loss" in values) > 0  # a checkpoint is saved, then evaluated
            if later or length + len(line) > n_bytes:
                break
            metrics.append(values)
            length += len(line)
    return metrics, length


def _is_right(key: str, value: object) -> bool:
    """Whether a value is of its key's kind: a text is a sample, and everything else a number."""
    if key == "sample":
        return isinstance(value, str)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    return key not in ("step", "tokens") or (isinstance(value, int) and value >= 0)
