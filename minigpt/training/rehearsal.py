"""Trying a recipe out without leaving a run behind: two steps, or a test of learning rates."""

import math
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from minigpt.config.hyperparameters import Config
from minigpt.errors import UserError
from minigpt.evaluation.loss import Evaluation
from minigpt.hardware.compiler import wants_compilation
from minigpt.hardware.precision import choose_engine
from minigpt.runs import RunFolder
from minigpt.training import run
from minigpt.training.divergence import REMEDY
from minigpt.training.hooks import Hooks
from minigpt.training.interruption import Interrupted
from minigpt.training.metrics import read_metrics

TEST_STEPS = 150
"""Of a test of learning rates."""
LOWEST, HIGHEST = 1e-3, 1e2
"""Shares of the recipe's learning rates between which they are tested."""
DIVERGED = 1.5
"""A smoothed loss so many times the lowest so far ends the test."""
SMOOTHING = 0.9
"""How much of the mean loss is kept from step to step."""
DONE = 0.7
"""Share of its whole fall that the loss has done at the rate that is suggested (docs/experiments.md)."""
BEGUN, RISEN = 0.05, 1.05
"""Share of it by which the fall has begun, and how many times the lowest loss is a rise."""


@dataclass(frozen=True)
class RateTest:
    """Learning rates from low to high, and the smoothed losses at them."""

    rates: list[float]
    losses: list[float]
    stopped: bool = False
    """Whether it was told to stop before its end."""

    @property
    def lowest(self) -> int:
        """Place of the lowest loss."""
        return self.losses.index(min(self.losses))

    @property
    def suggestion(self) -> float | None:
        """The rate by which most of the fall is done; None where the loss never fell, or was to fall on."""
        return None if self.stopped or not self.lowest else self._done(DONE)

    def findings(self) -> list[str]:
        """What came out, in words."""
        tried = f"from {self.rates[0]:.2g} to {self.rates[-1]:.2g}"
        if not self.lowest:
            found = f"the loss did not fall at rates {tried}; try another optimizer.learning_rate"
        else:
            risen = [self.rates[i] for i in range(self.lowest, len(self.rates)) if self._has_risen(i)]
            fell = f"{self._done(BEGUN):.2g} to {self.rates[self.lowest]:.2g}"
            rose = f" and rose again from {risen[0]:.2g} on" if risen else ", and did not rise again"
            found = f"at rates of {fell} the loss fell{rose} (tried: {tried})"
        return [*(["stopped: higher rates were not tried"] if self.stopped else []), found]

    def _done(self, share: float) -> float:
        begin, end = self.losses[0], min(self.losses)
        reached = (
            rate for rate, loss in zip(self.rates, self.losses, strict=True) if loss <= begin + share * (end - begin)
        )
        return next(reached)

    def _has_risen(self, i: int) -> bool:
        return self.losses[i] > RISEN * min(self.losses)


def dry_run(config: Config) -> Evaluation:
    """Two steps and one evaluation of a recipe, whose data is prepared and whose model is built as in a run."""
    changes = {"max_steps": 2, "max_minutes": None, "evaluate_every": 2}
    compiled = wants_compilation(config, config.training.batch_size, choose_engine(config.run))
    with _nowhere(config, changes, compiled) as trial:
        return run.start(trial)[1]


def find_learning_rate(config: Config) -> RateTest:
    """Raise all learning rates from step to step, until the loss explodes (range test, Smith 2017)."""
    changes = {"max_steps": TEST_STEPS, "max_minutes": None, "evaluate_every": TEST_STEPS, "patience": None}
    stopped = False
    with _nowhere(config, changes, compiled=False) as trial:
        folder = RunFolder(Path(trial.run.directory or ""))
        try:
            run.start(trial, hooks=Hooks(rate_factor=raised))
        except (UserError, Interrupted) as end:  # a loss that is not a number: the end that was looked for
            if not read_metrics(folder):
                raise
            stopped = isinstance(end, Interrupted)
        lines = [line for line in read_metrics(folder) if "loss" in line]
    return judge([line["learning_rate"] for line in lines], [line["loss"] for line in lines], stopped)


def raised(step: int) -> float:
    """Share of the recipe's learning rates at a step of the test: equal factors from the lowest to the highest."""
    return float(LOWEST * (HIGHEST / LOWEST) ** (step / (TEST_STEPS - 1)))


def judge(rates: list[float], losses: list[float], stopped: bool = False) -> RateTest:
    """Smooth the losses, and cut them off where they explode.

    A mean that keeps the share s of itself at each step is late by s / (1 - s) steps, which are taken off.
    """
    smooth: list[float] = []
    average = 0.0
    for i, loss in enumerate(losses):
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        smooth.append(average / (1 - SMOOTHING ** (i + 1)))
        if not math.isfinite(smooth[-1]) or smooth[-1] > DIVERGED * min(smooth):
            break
    late = min(round(SMOOTHING / (1 - SMOOTHING)), len(smooth) - 1)
    return RateTest(rates[: len(smooth) - late], smooth[late:], stopped)


@contextmanager
def _nowhere(config: Config, changes: dict[str, int | None], compiled: bool) -> Iterator[Config]:
    """The recipe with changes, in a folder that vanishes; data that was prepared already is used, and none is kept."""
    with tempfile.TemporaryDirectory() as place:
        there, here = Path(config.data.directory), Path(place) / "data"
        for found in (*there.glob("prepared/*"), *there.glob("prepared/tokenizers/*"), *there.glob("downloads/*")):
            if found.name != "tokenizers":
                link = here / found.relative_to(there)
                link.parent.mkdir(parents=True, exist_ok=True)
                try:
                    link.symlink_to(found.resolve())
                except OSError:  # Windows allows it to developers only
                    (shutil.copytree if found.is_dir() else shutil.copyfile)(found, link)
        training = {**changes, "checkpoint_every": 10**12, "keep_checkpoints": 0}
        try:
            yield config.model_copy(
                update={
                    "run": config.run.model_copy(update={"directory": f"{place}/run", "compile": compiled}),
                    "data": config.data.model_copy(update={"directory": f"{place}/data"}),
                    "training": config.training.model_copy(update=training),
                }
            )
        except Interrupted:
            raise KeyboardInterrupt from None  # what was saved vanishes
        except UserError as error:  # the folder as well, and there is nothing to go on with
            what, _, remedy = str(error).partition("; ")
            if place not in what:
                raise
            remedy = f"try {REMEDY}" if remedy.endswith(REMEDY) else "make room there, or name another TMPDIR"
            raise UserError(f"{what.removeprefix(f'{place}/run: ')}; {remedy}") from None
