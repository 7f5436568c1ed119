"""Killed at any of its file operations, a run goes on with the ordinary command and ends bit for bit the same.

Some of the operations here; all of them with `make faults`.
"""

import itertools
import json
import os
import random
import shutil
import signal
import sys
from pathlib import Path

import pytest
from conftest import RECIPE, TINY, minigpt
from safetensors.torch import load_file

from minigpt import cli

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes that are killed are forks of this one")
CHANGES = [*TINY, "data.n_stories=100", "training.max_steps=6", "training.evaluate_every=3", "model.dropout=0.1"]
OPERATIONS = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}
WRITING = os.O_WRONLY | os.O_RDWR
SOME = 6


def writes(event: str, arguments: tuple[object, ...]) -> bool:
    """Whether an audit event is an operation that changes files."""
    if event == "open":
        path, _, flags = arguments
        return isinstance(flags, int) and bool(flags & WRITING) and not str(path).startswith("/dev")
    return event in OPERATIONS


def killed_at(operation: int, command: list[object], workplace: Path) -> bool:
    """Run a command in a fork of this process, killed before its file operation of that number; whether it was."""
    child = os.fork()
    if child == 0:
        os.chdir(workplace)
        sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        numbers = itertools.count()

        def audit(event: str, arguments: tuple[object, ...]) -> None:
            if writes(event, arguments) and next(numbers) == operation:
                os.kill(os.getpid(), signal.SIGKILL)

        sys.addaudithook(audit)
        sys.argv = ["minigpt", *map(str, command)]
        try:
            cli.main()
        except SystemExit as end:
            os._exit(end.code if isinstance(end.code, int) else 1)
        except BaseException:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL)
    return status == -signal.SIGKILL


def outcome(run: Path) -> tuple[list[dict[str, object]], dict[str, list[float]]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    moving = ("seconds", "tokens_per_second", "checksum")
    kept = [{key: value for key, value in line.items() if key not in moving} for line in lines]
    weights = load_file(run / "checkpoints/step-00000006/model.safetensors")
    return kept, {name: tensor.flatten().tolist() for name, tensor in weights.items()}


@pytest.fixture(scope="module")
def operations(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A run that nothing happened to, and how many file operations it took."""
    workplace = tmp_path_factory.mktemp("kills")
    command = ["train", RECIPE, "run.name=whole", *CHANGES]
    counted = itertools.count()
    watching = [True]

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        if watching[0] and writes(event, arguments):
            next(counted)

    sys.addaudithook(audit)
    assert minigpt(*command, cwd=workplace).returncode == 0
    watching[0] = False
    return workplace / "runs" / "whole", next(counted)


def test_after_a_kill_at_any_file_operation_the_run_ends_the_same(operations: tuple[Path, int], tmp_path: Path) -> None:
    whole, n = operations
    every = "MINIGPT_FAULTS" in os.environ
    places = range(n) if every else sorted(random.Random(os.getpid()).sample(range(n), SOME))
    command = ["train", RECIPE, "run.name=killed", *CHANGES]
    expected = outcome(whole)
    killed = 0
    for place in places:
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        killed += killed_at(place, command, tmp_path)
        run = tmp_path / "runs" / "killed"
        again = ["train", "--resume", run] if (run / "config.yaml").exists() else command
        done = minigpt(*again, cwd=tmp_path)
        assert done.returncode == 0, f"operation {place}: {done.stderr}"
        assert outcome(run) == expected, f"operation {place}"
    assert killed >= len(places) - 2  # what the numbers shift by where bytecode was written the first time
    print(f"kills at {killed} of {n} file operations: every run went on and ended bit for bit the same")  # noqa: T201
