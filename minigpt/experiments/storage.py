"""Where a study is kept. Imports Optuna, so it is itself imported only where a study is opened."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import sqlalchemy
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial


class Storage(RDBStorage):
    """A database in which a trial is never lost and never given to two processes.

    A trial is known as begun only after its first sign of life: with Optuna's own order, one whose process is killed in
    between is under way for ever. And SQLite locks before it reads that a trial waits, as other databases do.
    """

    def __init__(self, url: str, **options: Any) -> None:
        sqlite = url.startswith("sqlite")
        arguments = {"timeout": 60, "isolation_level": None} if sqlite else {}
        super().__init__(url, engine_kwargs={"connect_args": arguments}, **options)
        if sqlite:
            sqlalchemy.event.listen(
                self.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE")
            )

    def set_trial_state_values(self, trial_id: int, state: TrialState, values: Sequence[float] | None = None) -> bool:
        """See RDBStorage."""
        if state == TrialState.RUNNING:
            self.record_heartbeat(trial_id)
        return super().set_trial_state_values(trial_id, state, values)

    def _create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> FrozenTrial:
        if template_trial is not None:
            return super()._create_new_trial(study_id, template_trial)
        while True:  # until no other process has taken it first
            trial = super()._create_new_trial(study_id, create_trial(state=TrialState.WAITING))
            with suppress(UpdateFinishedTrialError):
                if self.set_trial_state_values(trial._trial_id, TrialState.RUNNING):
                    return self.get_trial(trial._trial_id)
