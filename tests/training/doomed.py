"""minigpt in a process to which something happens at a certain moment: doomed.py MOMENT COMMAND ..."""

import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any

from minigpt import cli
from minigpt.training import checkpoint, trainer


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fill_the_disk() -> None:
    """A limit on file sizes stands for the full disk: writing fails in the same way."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def in_step_5(trainer: trainer.Trainer) -> bool:
    return trainer.progress.step == 4


MOMENTS: dict[str, tuple[Any, str, Callable[..., bool], Callable[[], None]]] = {
    "killed in a step": (trainer.Trainer, "step", in_step_5, kill),
    "killed before the first step": (trainer.Trainer, "step", lambda _: True, kill),
    "killed in a checkpoint": (
        checkpoint, "write_through", lambda path, _: path.match(".partial-step-00000006-*/training_state.pt"), kill,
    ),
    "killed before the index knows the checkpoint": (
        checkpoint, "write_index", lambda _folder, index, _series: index.last == 6, kill,
    ),
    "killed before the first checkpoint": (checkpoint, "save_checkpoint", lambda *_: True, kill),
    "full disk at once": (checkpoint, "save_checkpoint", lambda *_: True, fill_the_disk),
    "full disk": (trainer.Trainer, "step", in_step_5, fill_the_disk),
}  # fmt: skip
"""Where a function is, its name, the call before which it happens, and what."""


def main() -> None:
    place, name, is_moment, happen = MOMENTS[sys.argv.pop(1)]
    usual = getattr(place, name)

    def called(*arguments: Any) -> Any:
        if is_moment(*arguments):
            happen()
        return usual(*arguments)

    setattr(place, name, called)
    cli.main()


if __name__ == "__main__":
    main()
