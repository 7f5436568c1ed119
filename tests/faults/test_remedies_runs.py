"""What an error over a run advises is done to the letter, and gets the person on."""

import math
import os
import re
import shutil
from pathlib import Path

import pytest
from conftest import minigpt
from remedies import (
    OWN,
    RESUME,
    SAMPLE,
    Case,
    Remedy,
    Words,
    damage,
    edit,
    follow,
    found,
    instead,
    nothing,
    text,
    then,
    without,
)

from minigpt.runs import METADATA, WEIGHTS
from minigpt.storage.checksums import read_sealed, sealed
from minigpt.training.trainer import Trainer

PAST = r"run.seed = 7: this run's random numbers"
"""Errors that come when a run can be gone on with, but before it is."""
LAST = "checkpoints/step-00000012"
SEVENTH: Words = [*RESUME, "run.seed=7"]


def all_damaged(place: Path) -> None:
    """Every file of the checkpoints."""
    for path in (place / "runs/tiny/checkpoints").rglob("*.*"):
        if path.is_file():
            path.write_bytes(b"damaged")


def another_tokenizer(place: Path) -> None:
    """That of a run with another text."""
    path = place / "runs/tiny/tokenizer.json"
    fields = read_sealed(path, dict)
    path.write_bytes(sealed(fields | {"words": fields["words"][:-1]}))


def copied(advice: str) -> Remedy:
    """The same command when the file that the error begins with, or the run, was copied again from the other one."""

    def act(name: str) -> None:
        path, other = Path(name), Path(name.replace("tiny", "other"))
        shutil.copytree(other, path, dirs_exist_ok=True) if other.is_dir() else shutil.copy(other, path)

    return then(rf"error: ([^:]+): .*{advice}", act)


CASES: dict[str, Case] = {
    "metadata damaged": (
        damage(f"{LAST}/{METADATA}"),
        SAMPLE,
        instead(r"with --checkpoint: 0, 6, (\d+)$", "--checkpoint={}"),
    ),
    "metadata damaged, copied": (damage(f"{LAST}/{METADATA}"), SAMPLE, copied("copy it again from where it was whole")),
    "metadata damaged, gone on": (
        damage(f"{LAST}/{METADATA}"),
        SEVENTH,
        instead(r"with --checkpoint: (\d+)$", "--checkpoint={}"),
    ),
    "weights damaged, gone on": (
        damage(f"{LAST}/{WEIGHTS}"),
        [*RESUME, "training.max_steps=13"],
        instead(r"with --checkpoint: (\d+)$", "--checkpoint={}"),
    ),
    "weights damaged everywhere": (
        all_damaged,
        SAMPLE,
        then(
            "error: runs/tiny/.*and so are the checkpoints; copy the run's folder again",
            lambda: shutil.copytree("runs/other", "runs/tiny", dirs_exist_ok=True),
        ),
    ),
    "two weights damaged": (
        lambda place: [damage(f"checkpoints/step-000000{step}/{WEIGHTS}")(place) for step in ("12", "09")],
        SAMPLE,
        instead(r"with --checkpoint: 0, (\d+)$", "--checkpoint={}"),
    ),
    "a step whose state was not kept": (
        nothing,
        [*SEVENTH, "--checkpoint=0"],
        instead(r"a step whose state was kept \(9, (\d+)\)$", "--checkpoint={}"),
    ),
    "no checkpoint of that name": (
        nothing,
        [*SAMPLE, "--checkpoint", "x"],
        instead("must be (best)", "--checkpoint={}"),
    ),
    "tokenizer damaged": (damage("tokenizer.json"), SAMPLE, copied("copy it again")),
    "tokenizer of another run": (another_tokenizer, SAMPLE, copied("is another run's; copy it again")),
    "tokenizer of another run, gone on": (another_tokenizer, SEVENTH, copied("is another run's; copy it again")),
    "config no YAML": (
        edit("model:\n", "model\n"),
        SAMPLE,
        then(
            r"config.yaml, line \d+: not valid YAML .*; (mend) it there", lambda _: edit("model\n", "model:\n")(Path())
        ),
    ),
    "config left open": (
        edit("n_layers: 2", "n_layers: auto"),
        SEVENTH,
        then(
            r"error: runs/tiny/config.yaml: model.n_layers = (auto): is.*; give a value here",
            lambda auto: edit(f"n_layers: {auto}", "n_layers: 2")(Path()),
        ),
    ),
    "a model that would change": (
        nothing,
        [*SEVENTH, "model.n_layers=3"],
        lambda command, error: without(found("line: (.*) = 3: .*is 2; leave it", error) + "=3")(command, error),
    ),
    "a text that would change": (
        text("a" * 400),
        [*SEVENTH, "data.source=text.txt"],
        instead("wherever it lies now, with (data.source)=PATH", "{}=stories"),
    ),
    "resume and overwrite": (
        nothing,
        [*SEVENTH, "--overwrite"],
        without("--overwrite", advice="--overwrite replaces it; give one of them$"),
    ),
    "resume and a trial": (
        nothing,
        [*SEVENTH, "--dry-run"],
        without("--dry-run", advice="--dry-run and --find-lr try a recipe out; leave --resume away$"),
    ),
    "half of torchrun": (
        lambda _: os.environ.update(WORLD_SIZE="2"),
        SEVENTH,
        then("or unset (WORLD_SIZE)", os.environ.pop),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_remedy_works(name: str, two_runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    follow(CASES[name], two_runs, PAST)


def test_a_run_from_before_a_hyperparameter_was_there_is_whole(two_runs: Path) -> None:
    edit("  qk_norm: true\n", "")(two_runs)
    for path in (two_runs / "runs/tiny/checkpoints").glob(f"*/{METADATA}"):
        metadata = read_sealed(path, dict)
        del metadata["model"]["qk_norm"]
        path.write_bytes(sealed(metadata))
    assert minigpt(*SAMPLE, cwd=two_runs).returncode == 0


def test_a_trial_that_diverges_sends_nobody_to_a_folder_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text.txt").write_text("abcdefgh" * 100)
    monkeypatch.setattr(Trainer, "gradients", lambda *_: (math.nan, 1.0))
    done = minigpt(*OWN, "--dry-run", cwd=tmp_path)
    assert done.returncode == 2
    error = done.stderr.splitlines()[-1]
    assert re.fullmatch("error: step 1: the loss is nan, .*; try a lower optimizer.learning_rate or .*", error), error
