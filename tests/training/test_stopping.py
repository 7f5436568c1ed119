"""A training ends with its budget, or when it is told to."""

import signal

import pytest

from minigpt.config.hyperparameters import TrainingConfig
from minigpt.training.budget import share_spent
from minigpt.training.interruption import Interruption


def test_a_budget_is_spent_by_the_limit_that_comes_first() -> None:
    limits = TrainingConfig(max_steps=10, max_minutes=1)
    assert [share_spent(limits, steps, seconds) for steps, seconds in ((1, 60), (10, 6), (5, 6))] == [1, 1, 0.5]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_stops_at_once_and_what_heard_them_before_hears_them_again(number: signal.Signals) -> None:
    before, interruption = signal.getsignal(number), Interruption()

    def ask_twice() -> None:
        signal.raise_signal(number)
        assert interruption.requested
        signal.raise_signal(number)

    with pytest.raises(KeyboardInterrupt), interruption.watch():
        ask_twice()
    assert signal.getsignal(number) == before
