"""What a run reports: `metrics.jsonl` for machines, a progress bar for people, TensorBoard for those who ask for it."""

import json
import math
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from minigpt.data.progress import bar
from minigpt.errors import UserError
from minigpt.runs import Index, RunFolder
from minigpt.storage.checksums import KEY, DamageError, checksum, read_sealed

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

Metrics = dict[str, Any]

TAGS = {"loss": "loss/training", "validation_loss": "loss/validation"}
"""Names in TensorBoard of what belongs into one picture."""
SHORT = "does not go up to the last checkpoint or evaluation any more"
LONGEST, LARGEST = 2**24, 2**29
"""Bytes of a line, and of all of them."""


class MetricsLog:
    """Appends one JSON object a line, each with a checksum of the rest of it.

    A resumed run keeps `keep_bytes` of the file: what came after is trained anew.
    Where it has fewer, a warning says so. UserError, and the file is left as it is, where a line of it is damaged.
    `curves` get the same numbers.
    """

    def __init__(self, path: Path, keep_bytes: int = 0, curves: "SummaryWriter | None" = None) -> None:
        _, kept = _parse(path, keep_bytes)
        if kept < keep_bytes:
            print(f"warning: {path}: {SHORT}", file=sys.stderr)  # noqa: T201
        with path.open("ab") as file:
            file.truncate(kept)
        self._file: TextIO = path.open("a", encoding="utf-8", buffering=1)
        self._curves = curves

    def write(self, **metrics: object) -> None:
        """Write one line at once."""
        text = json.dumps(metrics, allow_nan=False)
        self._file.write(f'{text[:-1]}, "{KEY}": "{checksum(text.encode())}"}}\n')
        if self._curves is not None:
            for name, value in metrics.items():
                if isinstance(value, str):
                    self._curves.add_text(name, value, metrics["step"])
                elif name != "step":
                    self._curves.add_scalar(TAGS.get(name, name), value, metrics["step"])

    def position(self) -> int:
        """Bytes written so far; what TensorBoard was given is then on the disk as well."""
        if self._curves is not None:
            self._curves.flush()
        return self._file.tell()

    def close(self) -> None:
        """Close the files."""
        self._file.close()
        if self._curves is not None:
            self._curves.close()


def check_tensorboard() -> None:
    """UserError where TensorBoard is not installed."""
    if find_spec("tensorboard") is None:
        raise UserError("run.tensorboard = true: needs a package: pip install 'minigpt[tensorboard]'")


def open_tensorboard(folder: Path, step: int) -> "SummaryWriter":
    """A writer of curves into `folder`, in which what an earlier one wrote after `step` no longer counts."""
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1)


def read_metrics(folder: RunFolder) -> list[Metrics]:
    """The lines of a run's metrics; they may end in half a line while it is written, which is left out.

    A warning where there are fewer than its index knows of, UserError with the line where one is damaged.
    """
    metrics, length = _parse(folder.metrics)
    with suppress(DamageError):  # is told where checkpoints are used
        if length < read_sealed(folder.index, Index).metrics_bytes:
            print(f"warning: {folder.metrics}: {SHORT}", file=sys.stderr)  # noqa: T201
    return metrics


def _parse(path: Path, n_bytes: float = math.inf) -> tuple[list[Metrics], int]:
    """The whole lines among a file's first bytes, and how many bytes these lines have; UserError where one is damaged.

    A line that does not end is still being written.
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
                values = json.loads(line) if len(line) <= min(LONGEST, n_bytes - length) else None
                if not isinstance(values, dict) or not {"step", "tokens", "seconds"} <= values.keys():
                    raise ValueError
                found = values.pop(KEY, None)
                if found not in (None, checksum(json.dumps(values).encode())):
                    raise ValueError
                if not all(_is_right(key, value) for key, value in values.items()):
                    raise ValueError
            except (ValueError, RecursionError):
                raise UserError(f"{path}, line {len(metrics) + 1}: not what was written; {remedy}") from None
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


class ProgressBar:
    """Share of the budget, time left, current loss and speed, on standard error; silent where `shown` is False."""

    def __init__(self, progress: float, shown: bool) -> None:
        self._bar = bar(
            total=1.0,
            initial=progress,
            disable=not shown,
            mininterval=0.5,
            bar_format="{percentage:3.0f}%|{bar}| {remaining} left{postfix}",
        )
        self._validation = ""

    def step(self, progress: float, metrics: Metrics) -> None:
        """Move on after one training step."""
        self._bar.set_postfix_str(
            f"step {metrics['step']}, loss {metrics['loss']:.3f}{self._validation}, "
            f"{metrics['tokens_per_second']:,.0f} tokens/s",
            refresh=False,
        )
        self._bar.update(max(0.0, min(progress, 1.0) - self._bar.n))

    def evaluation(self, step: int, loss: float, sample: str) -> None:
        """Show a validation loss and the first words of a sample above the bar."""
        self._validation = f", validation {loss:.3f}"
        if not self._bar.disable:
            text = " ".join(sample.split())
            self._bar.write(f"step {step:>6}  validation loss {loss:.4f}  {text[:90]}", file=self._bar.fp)

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()
