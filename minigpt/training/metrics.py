"""What a run reports: `metrics.jsonl` for machines, a progress bar for people, TensorBoard for those who ask for it."""

from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from minigpt.data.progress import bar, say
from minigpt.errors import needs, warn
from minigpt.runs import Index, RunFolder
from minigpt.storage.checksums import DamageError, read_sealed
from minigpt.storage.metrics import Metrics, metrics_line, parse_metrics

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

TAGS = {"loss": "loss/training", "validation_loss": "loss/validation"}
"""Names in TensorBoard of what belongs into one picture."""
SHORT = "does not go up to the last checkpoint or evaluation any more"


class MetricsLog:
    """Appends one JSON object a line, each with a checksum of the rest of it.

    A run that goes on from a `step` keeps `keep_bytes` of the file: what came after is trained anew.
    Where it has fewer, a warning says so. UserError, and the file is left as it is, where a line of it is damaged.
    `curves` get the same numbers.
    """

    def __init__(self, path: Path, keep_bytes: int, step: int, curves: "SummaryWriter | None" = None) -> None:
        _, kept = parse_metrics(path, keep_bytes, step)
        if kept < keep_bytes:
            warn(f"{path}: {SHORT}")
        with path.open("ab") as file:
            file.truncate(kept)
        self._file: TextIO = path.open("a", encoding="utf-8", buffering=1)
        self._curves = curves

    def write(self, **metrics: object) -> None:
        """Write one line at once, without what is None."""
        metrics = {name: value for name, value in metrics.items() if value is not None}
        self._file.write(metrics_line(metrics))
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
    with needs("tensorboard", "run.tensorboard = true:"):
        import_module("tensorboard")


def open_tensorboard(folder: Path, step: int) -> "SummaryWriter":
    """A writer of curves into `folder`, in which what an earlier one wrote after `step` no longer counts."""
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1)


def read_metrics(folder: RunFolder) -> list[Metrics]:
    """The lines of a run's metrics; they may end in half a line while it is written, which is left out.

    A warning where there are fewer than its index knows of, UserError with the line where one is damaged.
    """
    metrics, length = parse_metrics(folder.metrics)
    with suppress(DamageError):  # is told where checkpoints are used
        if length < read_sealed(folder.index, Index).metrics_bytes:
            warn(f"{folder.metrics}: {SHORT}")
    return metrics


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
            say(f"step {step:>6}  validation loss {loss:.4f}  {text[:90]}")

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()
