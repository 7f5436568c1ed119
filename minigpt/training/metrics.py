"""What a run reports: `metrics.jsonl` for machines, a progress bar for people."""

import json
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from minigpt.errors import UserError

Metrics = dict[str, Any]


class MetricsLog:
    """Appends one JSON object a line. A resumed run keeps `keep_bytes` of the file: what came after is trained anew."""

    def __init__(self, path: Path, keep_bytes: int = 0) -> None:
        with path.open("ab") as file:
            file.truncate(keep_bytes)
        self._file: TextIO = path.open("a", encoding="utf-8", buffering=1)

    def write(self, **metrics: object) -> None:
        """Write one line at once."""
        self._file.write(json.dumps(metrics) + "\n")

    def position(self) -> int:
        """Bytes written so far."""
        return self._file.tell()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_metrics(path: Path) -> list[Metrics]:
    """The lines of a metrics file; one that is being written to may end in half a line, which is left out.

    UserError with the line where one is damaged.
    """
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8").split("\n")
    metrics: list[Metrics] = []
    for number, line in enumerate(lines[:-1], 1):  # what follows the last line end is not a whole line
        try:
            metrics.append(json.loads(line))
        except ValueError:
            raise UserError(f"{path}, line {number}: not JSON; delete the line to draw the report without it") from None
    return metrics


class ProgressBar:
    """Share of the budget, time left, current loss and speed, on standard error; silent where `shown` is False."""

    def __init__(self, progress: float, shown: bool) -> None:
        self._bar = tqdm(
            total=1.0,
            initial=progress,
            disable=not shown,
            dynamic_ncols=True,
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
