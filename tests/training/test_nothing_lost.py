"""Interrupted anywhere, a run goes on as if nothing had happened."""

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import RECIPE, TINY, minigpt
from safetensors.torch import load_file

MOVING = ["seconds", "tokens_per_second"]
DROPOUT = "model.dropout=0.1"


def start(workplace: Path, name: str, *changes: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "minigpt", "train", str(RECIPE), f"run.name={name}", *TINY, DROPOUT, *changes],
        cwd=workplace,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def metrics(run: Path) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in MOVING} for line in lines]


def weights(run: Path) -> dict[str, torch.Tensor]:
    last = json.loads((run / "checkpoints" / "index.json").read_text())["last"]
    return load_file(run / "checkpoints" / f"step-{last:08d}" / "model.safetensors")


def assert_same(run: Path, other: Path) -> None:
    assert metrics(run) == metrics(other)
    for name, tensor in weights(run).items():
        assert torch.equal(tensor, weights(other)[name]), name


def wait_for(process: subprocess.Popen[str], path: Path) -> None:
    while not path.exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.002)


def finish(process: subprocess.Popen[str]) -> None:
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors


@pytest.fixture(scope="module")
def uninterrupted(workplace: Path, run: Path) -> Path:
    """What the others are compared with (`run` has prepared the data)."""
    process = start(workplace, "uninterrupted", "training.max_steps=60")
    finish(process)
    return workplace / "runs" / "uninterrupted"


@pytest.mark.parametrize("checkpoint", [0, 3, 6])
def test_after_kill_9_a_resumed_run_equals_an_uninterrupted_one(
    checkpoint: int, workplace: Path, uninterrupted: Path
) -> None:
    process = start(workplace, f"killed{checkpoint}", "training.max_steps=60")
    run = workplace / "runs" / f"killed{checkpoint}"
    wait_for(process, run / "checkpoints" / f"step-{checkpoint:08d}")
    wait_for(process, run / "checkpoints" / "index.json")
    process.kill()
    process.communicate()
    assert minigpt("train", "--resume", run, cwd=workplace).returncode == 0
    assert_same(run, uninterrupted)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_exits_130_and_resume_goes_on(
    number: signal.Signals, workplace: Path, uninterrupted: Path
) -> None:
    process = start(workplace, f"stopped{number}", "training.max_steps=60")
    run = workplace / "runs" / f"stopped{number}"
    wait_for(process, run / "checkpoints" / "step-00000000")
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "saved at step" in errors
    assert minigpt("train", "--resume", run, cwd=workplace).returncode == 0
    assert_same(run, uninterrupted)


def test_half_a_checkpoint_is_never_looked_at(workplace: Path, uninterrupted: Path) -> None:
    process = start(workplace, "half", "training.max_steps=60")
    run = workplace / "runs" / "half"
    wait_for(process, run / "checkpoints" / "index.json")
    process.kill()
    process.communicate()
    half = run / "checkpoints" / ".partial-step-00000099"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    assert minigpt("train", "--resume", run, cwd=workplace).returncode == 0
    assert_same(run, uninterrupted)
    assert not half.exists()


def test_evaluating_more_often_changes_no_training_loss(workplace: Path, uninterrupted: Path) -> None:
    process = start(workplace, "often", "training.max_steps=60", "training.evaluate_every=1")
    finish(process)
    losses = [
        [line["loss"] for line in metrics(path) if "loss" in line] for path in (workplace / "runs/often", uninterrupted)
    ]
    assert losses[0] == losses[1]


def test_a_full_disk_is_told_and_leaves_the_last_checkpoint_whole(workplace: Path, uninterrupted: Path) -> None:
    """A limit on file sizes stands for the full disk: writing fails in the same way."""
    process = start(workplace, "full", "training.max_steps=100000")
    run = workplace / "runs" / "full"
    wait_for(process, run / "checkpoints" / "step-00000006")
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (20_000, 20_000))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2, errors
    (error,) = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert "cannot be written to" in error
    assert "--resume" in error
    assert minigpt("train", "--resume", run, "training.max_steps=60", cwd=workplace).returncode == 0
    assert weights(run).keys() == weights(uninterrupted).keys()


def test_a_loss_that_is_not_finite_stops_the_run_with_advice(workplace: Path, run: Path) -> None:
    changes = ["optimizer.name=adamw", "optimizer.learning_rate=10", "optimizer.weight_decay=10"]  # each step times -99
    changes += ["schedule.warmup_steps=0", "training.max_steps=60"]
    done = minigpt("train", RECIPE, "run.name=wild", *TINY, *changes, cwd=workplace)
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2
    for part in ("step", "last good checkpoint", "optimizer.learning_rate", "--resume"):
        assert part in error


def test_an_existing_run_is_replaced_only_when_told_to(workplace: Path, run: Path) -> None:
    command = ["train", RECIPE, "run.name=again", *TINY, "training.max_steps=1"]
    assert minigpt(*command, cwd=workplace).returncode == 0
    assert minigpt(*command, cwd=workplace).returncode == 2
    assert minigpt(*command, "--overwrite", cwd=workplace).returncode == 0


def test_two_processes_have_the_loss_curve_of_one(workplace: Path, run: Path) -> None:
    script = RECIPE.parents[1] / "scripts" / "train.py"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(script)]
    done = subprocess.run(
        [*command, str(RECIPE), "run.name=two", *TINY],
        cwd=workplace,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    for mine, alone in zip(metrics(workplace / "runs" / "two"), metrics(run), strict=True):
        for key in ("loss", "validation_loss"):
            if key in alone:
                assert mine[key] == pytest.approx(alone[key], rel=1e-4)


def test_patience_ends_a_run_that_no_longer_improves(workplace: Path, run: Path) -> None:
    changes = ["training.patience=2", "optimizer.learning_rate=1e-12", "optimizer.adamw_learning_rate=1e-12"]
    changes += ["training.max_steps=1000", "training.evaluate_every=2", "optimizer.name=adamw"]
    assert minigpt("train", RECIPE, "run.name=patient", *TINY, *changes, cwd=workplace).returncode == 0
    assert metrics(workplace / "runs" / "patient")[-1]["step"] < 100
