"""`minigpt compare`: what runs have in common, what differs, what came out, and whether that is more than chance."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

from minigpt.config.hyperparameters import Config, TrainingConfig
from minigpt.errors import UserError
from minigpt.experiments.chance import noise
from minigpt.experiments.differences import differences
from minigpt.model.gpt import outline
from minigpt.runs import RunFolder, load_config, open_folder
from minigpt.storage.metrics import Metrics
from minigpt.training.budget import share_spent
from minigpt.training.continuation import text_of
from minigpt.training.metrics import read_metrics

SEED = "run.seed"
FEW = 3
"""Differences up to which a setting is called by them."""


@dataclass(frozen=True)
class Summary:
    """One run: how it was made, what that cost, and how well it predicts its validation text."""

    run: str
    settings: dict[str, Any]
    """Keys in which the compared runs differ, with this run's values."""
    seed: int
    n_parameters: int
    steps: int
    tokens: int
    seconds: float
    tokens_per_second: float | None
    loss: float | None
    """Of the last evaluation; None before the first."""
    best_loss: float | None
    bits_per_byte: float | None
    ended: bool
    """Whether it used up its budget, or stopped by itself."""


@dataclass(frozen=True)
class Setting:
    """Runs that differ in nothing but their seed, with one result for each seed."""

    settings: dict[str, Any]
    runs: list[str]
    results: list[float]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return mean(self.results)

    @property
    def spread(self) -> float | None:
        """Standard deviation between seeds; None for a single one."""
        return stdev(self.results) if len(self.results) > 1 else None

    @property
    def name(self) -> str:
        """What sets it apart, or where that is much, its runs."""
        apart = [f"{key}={_text(value)}" for key, value in self.settings.items()]
        return ", ".join(apart if len(apart) <= FEW else (Path(run).name for run in self.runs)) or "all alike"


@dataclass(frozen=True)
class Comparison:
    """Runs side by side; `measure` is what they are judged by: loss, or bits_per_byte where their tokens differ."""

    runs: list[Summary]
    measure: str
    settings: list[Setting]
    notes: list[str]
    comparable: bool
    """Whether they were judged by the same text."""
    common: dict[str, Any]
    """Keys in which all runs agree, with their values."""

    @property
    def verdicts(self) -> list[str]:
        """The best setting against each other one, in words."""
        if not self.comparable:
            return []
        return [verdict(self.settings[0], other, self.measure) for other in self.settings[1:]]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        settings = [
            {"settings": one.settings, "n": len(one.results), "mean": one.mean, "spread": one.spread}
            for one in self.settings
        ]
        return {
            "runs": [asdict(run) for run in self.runs],
            "measure": self.measure,
            "settings": settings,
            "verdicts": self.verdicts,
            "notes": self.notes,
        }

    def rows(self) -> list[list[str]]:
        """A table for people, its head first: what differs, then what came out."""
        head = ["run", *self.runs[0].settings, *COLUMNS]
        return [head, *([run.run, *map(_text, run.settings.values()), *_figures(run)] for run in self.runs)]

    def describe(self) -> str:
        """For the terminal."""
        rows = self.rows()
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = [
            "  ".join(
                cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in rows
        ]
        if len(self.settings) < len(self.runs):
            lines += ["", *(_setting_line(setting, self.measure) for setting in self.settings)]
        return "\n".join([*lines, *([""] if self.verdicts else []), *self.verdicts, *self.notes])


COLUMNS = ("loss", "best", "bits/byte", "parameters", "steps", "tokens", "minutes", "tokens/s")


def compare(paths: Sequence[Path]) -> Comparison:
    """Read the runs at `paths` (two or more); UserError where one is none, or is named twice."""
    folders = [open_folder(path) for path in paths]
    if len(folders) < 2:
        raise UserError("command line: name at least two runs, such as runs/*")
    if len({folder.path.resolve() for folder in folders}) < len(folders):
        raise UserError("command line: a run is named twice; name each once")
    configs = [load_config(folder) for folder in folders]
    texts = {text_of(folder) for folder in folders}
    common, differing = differences(configs, same_text=len(texts) == 1 and None not in texts)
    runs = [
        summarise(folder, config, settings)
        for folder, config, settings in zip(folders, configs, differing, strict=True)
    ]
    notes = []
    judged = ("data", "training.evaluation_tokens")
    comparable = not any(key.startswith(judged) for key in runs[0].settings)
    if not comparable:
        notes.append("note: these runs were judged by different texts, so that their results cannot be compared")
    measure = "bits_per_byte" if any(key.startswith("tokenizer") for key in runs[0].settings) else "loss"
    if measure != "loss":
        notes.append(
            "note: their tokens differ, so that bits per byte count and not the loss per token; and as many tokens are "
            "not as much text, so that `minigpt evaluate`, over the whole of it, is the fairer judge"
        )
    unfinished = [Path(run.run).name for run in runs if not run.ended]
    if unfinished:
        notes.append(f"note: not at the end of their budgets (training, stopped or pruned): {', '.join(unfinished)}")
    return Comparison(runs, measure, settings_of(runs, measure), notes, comparable, common)


def summarise(folder: RunFolder, config: Config, settings: dict[str, Any]) -> Summary:
    """What the run's metrics say."""
    metrics = read_metrics(folder)
    evaluations = [line for line in metrics if "validation_loss" in line]
    speeds = [line["tokens_per_second"] for line in metrics if "tokens_per_second" in line]
    losses = [line["validation_loss"] for line in evaluations]
    last: Metrics = metrics[-1] if metrics else {"step": 0, "tokens": 0, "seconds": 0.0}
    return Summary(
        str(folder.path),
        settings,
        config.run.seed,
        outline(config.model).n_parameters(),
        last["step"],
        last["tokens"],
        last["seconds"],
        median(speeds) if speeds else None,
        losses[-1] if losses else None,
        min(losses, default=None),
        evaluations[-1]["bits_per_byte"] if evaluations else None,
        _has_ended(config.training, last, losses),
    )


def _has_ended(training: TrainingConfig, last: Metrics, losses: list[float]) -> bool:
    """Whether a run has used up its budget, or its patience: so many evaluations in a row brought nothing better."""
    stale = len(losses) - 1 - losses.index(min(losses)) if losses else 0
    out_of_patience = training.patience is not None and stale >= training.patience
    return out_of_patience or share_spent(training, last["step"], last["seconds"]) >= 1


def settings_of(runs: Sequence[Summary], measure: str) -> list[Setting]:
    """Runs grouped by what they differ in but the seed, the best mean first; those not evaluated yet are left out."""

    def values(run: Summary) -> str:
        return repr(without_seed(run.settings))

    evaluated = sorted((run for run in runs if getattr(run, measure) is not None), key=values)
    settings = []
    for _, group in groupby(evaluated, key=values):
        alike, results = list(group), defaultdict(list)
        for run in alike:
            results[run.seed].append(getattr(run, measure))
        means = [mean(same) for same in results.values()]
        settings.append(Setting(without_seed(alike[0].settings), [run.run for run in alike], means))
    return sorted(settings, key=lambda setting: setting.mean)


def without_seed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """All but `run.seed`."""
    return {key: value for key, value in settings.items() if key != SEED}


def verdict(best: Setting, other: Setting, measure: str) -> str:
    """Whether `best` is better than `other` by more than seeds alone make a difference."""
    difference, width = other.mean - best.mean, noise(best.results, other.results)
    begin = f"{best.name} is better than {other.name} by {difference:.4f}"
    if width is None:
        return f"{begin} {measure}, which seeds alone may do: train both with several run.seed"
    more = "more than the noise" if difference > width else "not more than the noise"
    return f"{begin} ± {width:.4f} {measure}: {more}"


def _setting_line(setting: Setting, measure: str) -> str:
    spread = f" ± {setting.spread:.4f}" if setting.spread is not None else ""
    seeds = "1 seed" if len(setting.results) == 1 else f"{len(setting.results)} seeds"
    return f"{setting.name}: {measure} {setting.mean:.4f}{spread} ({seeds})"


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _figures(run: Summary) -> list[str]:
    numbers = (run.loss, run.best_loss, run.bits_per_byte)
    return [
        *("-" if x is None else f"{x:.4f}" for x in numbers),
        f"{run.n_parameters:,}",
        f"{run.steps:,}",
        f"{run.tokens:,}",
        f"{run.seconds / 60:.1f}",
        "-" if run.tokens_per_second is None else f"{run.tokens_per_second:,.0f}",
    ]
