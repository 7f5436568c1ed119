"""`minigpt sweep`: many runs in search of the best hyperparameters, with Optuna (Akiba 2019).

A trial is a setting; each of its seeds is an ordinary run folder. All that a study knows is in a database, so that
several processes can work on it, a repeated command goes on with it, and nothing is lost when one of them is killed.
"""

import json
import re
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from minigpt.config.hyperparameters import Config
from minigpt.config.recipe import make_config, save_recipe
from minigpt.config.yaml_file import Tree, read_yaml
from minigpt.errors import UserError
from minigpt.experiments.budget import choose
from minigpt.experiments.search import Search, Value, load_search
from minigpt.runs import RunFolder
from minigpt.training.interruption import Interrupted
from minigpt.training.metrics import read_metrics

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

HEARTBEAT = 5
"""Seconds between two signs of life of a process with a trial."""
SILENCE = 20
"""Seconds without one, after which its trial counts as killed and is tried again."""
RETRIES = 2
"""Times that a killed trial is tried again."""
ENOUGH = 4
"""Trials that must have ended before others are compared with them and stopped."""
SPARED = 3
"""Tenths of its budget before which no trial is stopped."""
ATTEMPTS = 4
"""To open a database."""
VOID, ERROR, TOKENS, RUNS, LOSSES = "void", "error", "tokens", "runs", "losses"
"""Attributes of trials; a void one does not count, runs and losses are by seed."""

GO_ON = "the same command goes on with the search"
"""Said where one is interrupted."""
FAILURES = (UserError, RuntimeError, MemoryError)
"""What ends a trial and not the study; RuntimeError is torch's, where memory does not suffice among others."""


class Surplus(Exception):  # noqa: N818 - no error
    """Another process has begun the last trial, or queued the same grid, at the same moment."""


@dataclass(frozen=True)
class Sweep:
    """A search, the file that it was read from, and what its recipe's file held then."""

    search: Search
    path: Path
    recipe: Tree

    @classmethod
    def load(cls, path: Path) -> "Sweep":
        """The search in a YAML file; UserError where it is none, or where its recipe or a change is wrong."""
        search = load_search(path)
        sweep = cls(search, path, read_yaml(path.parent / search.recipe, Config))
        sweep.config({})
        return sweep

    def config(self, values: Mapping[str, Value]) -> Config:
        """The recipe with the search's changes and the values of one trial; UserError where they do not go together."""
        changes = {**self.search.changes, **values}
        return make_config(self.recipe, self.path.parent / self.search.recipe, changes, changed_in=str(self.path))

    @property
    def folder(self) -> Path:
        """Of the study: its database, its runs, its results."""
        return Path("runs") / self.search.study.name

    def open(self) -> "Study":
        """The study, begun or gone on with; UserError where the storage cannot be reached."""
        import optuna
        from optuna import samplers
        from optuna.storages import RetryHeartbeatStaleTrialCallback

        from minigpt.experiments.storage import Storage

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        self.folder.mkdir(parents=True, exist_ok=True)
        url = self.search.study.storage or f"sqlite:///{self.folder / 'study.db'}"
        for attempt in range(ATTEMPTS):
            time.sleep(0.5 * attempt)  # another process may be making the database
            try:
                storage = Storage(
                    url,
                    heartbeat_interval=HEARTBEAT,
                    grace_period=SILENCE,
                    heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retry=RETRIES),
                )
                return optuna.create_study(
                    storage=storage,
                    study_name=self.search.study.name,
                    sampler=samplers.TPESampler(multivariate=True, group=True, constant_liar=True)
                    if self.search.study.sampler == "tpe"
                    else samplers.RandomSampler(),
                    pruner=optuna.pruners.MedianPruner(n_startup_trials=ENOUGH, n_warmup_steps=SPARED),
                    load_if_exists=True,
                )
            except Exception as error:  # whatever a database driver raises
                reason = " ".join(str(error).split())[:200]
        shown = re.sub(r"(?<=:)[^:@/]+(?=@)", "***", url)
        if self.search.study.storage is None:
            raise UserError(f"{self.folder}: study.db: {reason}; restore that file, or choose another study.name")
        raise UserError(f"{self.path}: study.storage = {shown}: {reason}; name a database that can be reached")

    def prepare(self, study: "Study") -> None:
        """Say what belongs to the study; UserError where it was begun differently, or has lost its trials."""
        found = [re.match(r"trial-(\d+)", path.name) for path in self.folder.glob("trial-*")]
        if max((int(match[1]) for match in found if match), default=-1) >= len(study.get_trials(deepcopy=False)):
            raise UserError(
                f"{self.folder}: holds trials that its database does not know of; restore that, choose another "
                "study.name, or move the trials away"
            )
        search = self.search.model_dump(include={"changes", "space"})
        search |= {"recipe": self.recipe, "seeds": self.search.study.seeds}
        search = json.loads(json.dumps(search, default=str))
        if study.trials and study.user_attrs.get("search", search) != search:
            raise UserError(
                f"{self.path}: study.name = {self.search.study.name}: was begun with another recipe, other changes, "
                "space or seeds; choose another name"
            )
        study.set_user_attr("search", search)
        if self.search.study.sampler == "grid":
            # Optuna's own skip_if_exists takes neighbours such as 100,000 and 100,001 for the same.
            queued = [trial.system_attrs.get("fixed_params") for trial in study.get_trials(deepcopy=False)]
            for setting in self.search.grid():
                if setting not in queued:
                    study.enqueue_trial(setting)

    def work(self, study: "Study", finished: Callable[["Study", "FrozenTrial"], None]) -> None:
        """Train trial after trial until the budget is used up; `finished` hears of each one that has ended."""
        deadline = time.monotonic() + 60 * (self.search.study.minutes or float("inf"))
        while time.monotonic() < deadline and not self.complete(study):
            limit = self.limit()
            trials = counted(study)[:limit]
            if len(trials) == limit and not any(trial.state.name == "WAITING" for trial in trials):
                time.sleep(1.0)  # others are at the last ones; if they die, these are tried again
                continue
            try:
                study.optimize(self._objective, n_trials=1, catch=(*FAILURES, Surplus), callbacks=[finished])
            except ValueError as error:
                if not str(error).startswith("Cannot tell"):
                    raise
                # this process was asleep for so long that its trial counts as killed, and is or was tried again

    def complete(self, study: "Study") -> bool:
        """Whether the budget in trials or tokens is used up and no trial is under way any more."""
        from optuna.storages import fail_stale_trials

        fail_stale_trials(study)
        trials = counted(study)
        spent = sum(trial.user_attrs.get(TOKENS, 0) for trial in trials)
        if self.search.study.tokens is not None and spent >= self.search.study.tokens:
            return True
        limit = self.limit()
        return limit is not None and sum(trial.state.is_finished() for trial in trials[:limit]) == limit

    def limit(self) -> int | None:
        """Trials that there are to be: as many as were asked for, and no more than a grid has."""
        sizes = [self.search.study.trials, len(self.search.grid()) if self.search.study.sampler == "grid" else None]
        return min((size for size in sizes if size), default=None)

    def _objective(self, trial: "Trial") -> float:
        """Train one setting with each seed; returns the mean validation loss."""
        if trial.number not in [other.number for other in counted(trial.study)[: self.limit()]]:
            trial.set_user_attr(VOID, True)
            raise Surplus
        losses = dict(trial.user_attrs.get(LOSSES, {}))  # a trial that is tried again has those of seeds that ended
        try:
            for seed in map(str, self.search.study.seeds):
                if seed not in losses:
                    losses[seed] = self._train(trial, seed, first=not losses)
                    trial.set_user_attr(LOSSES, losses)
        except FAILURES as error:
            trial.set_user_attr(ERROR, " ".join(str(error).split())[:300])
            raise
        except (Interrupted, KeyboardInterrupt):
            own = trial.study.trials[trial.number]
            trial.set_user_attr(VOID, True)
            trial.study.enqueue_trial(own.params or own.system_attrs.get("fixed_params", {}), user_attrs=own.user_attrs)
            raise Interrupted(GO_ON) from None
        return mean(losses.values())

    def _train(self, trial: "Trial", seed: str, first: bool) -> float:
        import optuna

        from minigpt.training import run
        from minigpt.training.hooks import Hooks

        several = len(self.search.study.seeds) > 1
        folder = self.folder / f"trial-{trial.number:04}{f'-seed-{seed}' if several else ''}"
        own: dict[str, Value] = {"run.seed": int(seed), "run.name": folder.name, "run.directory": str(folder)}
        config = self.config({**self.search.suggest(trial), **own})
        trial.set_user_attr(RUNS, {**trial.user_attrs.get(RUNS, {}), seed: str(folder)})
        told: set[int] = set()

        def report(_folder: RunFolder, spent: float, loss: float) -> None:
            tenth = int(10 * spent)
            if tenth in told or spent >= 1:
                return
            told.add(tenth)
            trial.report(loss, tenth)
            if self.search.study.prune and trial.should_prune():
                raise optuna.TrialPruned

        try:
            hooks = Hooks(on_evaluation=report if first else None, choose=choose)
            return run.start(config, overwrite=True, hooks=hooks)[1].loss
        finally:
            metrics = read_metrics(RunFolder(folder))
            tokens = metrics[-1]["tokens"] if metrics else 0
            trial.set_user_attr(TOKENS, trial.user_attrs.get(TOKENS, 0) + tokens)

    def save_best(self, study: "Study") -> Path | None:
        """Write the best trial's recipe as a YAML file that can be trained again; None where none has ended well."""
        ended = [trial for trial in counted(study) if trial.state.name == "COMPLETE"]
        if not ended:
            return None
        best = min(ended, key=lambda trial: trial.value or 0.0)
        path = self.folder / "best.yaml"
        save_recipe(self.config({**best.params, "run.name": f"{self.search.study.name}-best"}), path)
        return path


def counted(study: "Study") -> "list[FrozenTrial]":
    """The study's trials but those that were killed and tried again, that were one too many, or queued twice."""
    trials = study.get_trials(deepcopy=False)
    again = {number for trial in trials for number in trial.system_attrs.get("retry_history", [])}  # of Optuna
    kept: dict[str, FrozenTrial] = {}
    for trial in trials:
        if trial.number not in again and not trial.user_attrs.get(VOID):
            queued = trial.system_attrs.get("fixed_params")
            kept.setdefault(repr(queued or trial.number), trial)
    return list(kept.values())
