"""Interrupted anywhere, a run goes on as if nothing had happened."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import RECIPE, TINY, minigpt
from forked import Done, forked, started
from safetensors.torch import load_file

from minigpt.config.recipe import load_recipe
from minigpt.data.batches import Batches
from minigpt.errors import UserError
from minigpt.evaluation.loss import Evaluation
from minigpt.runs import RunFolder, kept_steps, read_index, read_metadata
from minigpt.training import checkpoint
from minigpt.training import run as training_run
from minigpt.training.continuation import check_origins
from minigpt.training.corpus import prepare_corpus
from minigpt.training.distributed import is_first
from minigpt.training.trainer import Trainer

MOVING = ["seconds", "tokens_per_second", "checksum"]
CHANGES = [*TINY, "model.dropout=0.1", "training.max_steps=18"]


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def fill_the_disk() -> None:
    """A limit on file sizes stands for the full disk: writing fails in the same way."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))


def in_step_5(trainer: Trainer) -> bool:
    return trainer.progress.step == 4


MOMENTS: dict[str, tuple[Any, str, Callable[..., bool], Callable[[], None]]] = {
    "killed in a step": (Trainer, "step", in_step_5, kill),
    "killed before the first step": (Trainer, "step", lambda _: True, kill),
    "killed in a checkpoint": (
        checkpoint, "write_through", lambda path, _: path.match(".partial-step-00000006-*/training_state.pt"), kill,
    ),
    "killed before the index knows the checkpoint": (
        checkpoint, "write_index", lambda _folder, index, _series: index.last == 6, kill,
    ),
    "killed before the first checkpoint": (checkpoint, "save_checkpoint", lambda *_: True, kill),
    "full disk at once": (checkpoint, "save_checkpoint", lambda *_: True, fill_the_disk),
    "full disk": (Trainer, "step", in_step_5, fill_the_disk),
}  # fmt: skip
"""Where a function is, its name, the call before which it happens, and what."""


def doomed(moment: str, workplace: Path) -> tuple[Path, Done]:
    """A run in a process of its own, in which something happens at a moment, and how that ended."""
    name = moment.replace(" ", "-")
    place, function, is_moment, happen = MOMENTS[moment]
    usual = getattr(place, function)

    def called(*arguments: Any) -> Any:
        if is_moment(*arguments):
            happen()
        return usual(*arguments)

    done = forked(
        "train", RECIPE, f"run.name={name}", *CHANGES, cwd=workplace, before=lambda: setattr(place, function, called)
    )
    return workplace / "runs" / name, done


def metrics(run: Path) -> list[dict[str, object]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in MOVING} for line in lines]


def last_checkpoint(run: Path) -> Path:
    last = json.loads((run / "checkpoints" / "index.json").read_text())["last"]
    return run / "checkpoints" / f"step-{last:08d}"


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(last_checkpoint(run) / "model.safetensors")


def assert_same(run: Path, other: Path) -> None:
    assert metrics(run) == metrics(other)
    for name, tensor in weights(run).items():
        assert torch.equal(tensor, weights(other)[name]), name


@pytest.fixture(scope="module")
def uninterrupted(workplace: Path) -> Path:
    """What the others are compared with."""
    done = minigpt("train", RECIPE, "run.name=uninterrupted", *CHANGES, cwd=workplace)
    assert done.returncode == 0, done.stderr
    return workplace / "runs" / "uninterrupted"


@pytest.mark.parametrize(
    ("moment", "last"),
    [
        ("killed before the first step", 0),
        ("killed in a step", 3),
        ("killed in a checkpoint", 3),
        ("killed before the index knows the checkpoint", 3),
    ],
)
def test_after_kill_9_a_resumed_run_equals_an_uninterrupted_one(
    moment: str, last: int, workplace: Path, uninterrupted: Path
) -> None:
    run, done = doomed(moment, workplace)
    assert done.status == -signal.SIGKILL, done.errors
    assert last_checkpoint(run).name == f"step-{last:08d}"
    assert minigpt("train", "--resume", run, cwd=workplace).returncode == 0
    assert_same(run, uninterrupted)


def test_a_run_that_went_back_goes_on_from_there_whatever_happens(
    workplace: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    shutil.copytree(uninterrupted, tmp_path / "whole")
    shutil.copytree(uninterrupted, tmp_path / "killed")
    back = ["--checkpoint", "15", "optimizer.learning_rate=0.001", "training.max_steps=20"]
    assert minigpt("train", "--resume", tmp_path / "whole", *back, cwd=workplace).returncode == 0
    step = Trainer.step

    def called(trainer: Trainer) -> None:
        if trainer.progress.step == 16:
            kill()
        step(trainer)

    killed = ["train", "--resume", tmp_path / "killed"]
    done = forked(*killed, *back, cwd=workplace, before=lambda: setattr(Trainer, "step", called))
    assert done.status == -signal.SIGKILL, done.errors
    assert minigpt(*killed, cwd=workplace).returncode == 0
    assert_same(tmp_path / "killed", tmp_path / "whole")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_exits_130_and_resume_goes_on(
    number: signal.Signals, workplace: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainer.step

    def interrupted(trainer: Trainer) -> None:
        if trainer.progress.step == 4:
            os.kill(os.getpid(), number)
        step(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", interrupted)
        done = minigpt("train", RECIPE, f"run.name=stopped{number}", *CHANGES, cwd=workplace)
    assert done.returncode == 130, done.stderr
    assert "saved at step 5" in done.stderr
    run = workplace / "runs" / f"stopped{number}"
    assert last_checkpoint(run).name == "step-00000005"
    assert minigpt("train", "--resume", run, cwd=workplace).returncode == 0
    assert_same(run, uninterrupted)


def test_half_a_checkpoint_is_never_looked_at(workplace: Path, uninterrupted: Path, tmp_path: Path) -> None:
    run = tmp_path / "half"
    shutil.copytree(uninterrupted, run)
    half = run / "checkpoints" / ".partial-step-00000099-elsewhere-1"
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    done = minigpt("train", "--resume", run, "training.max_steps=20", cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert last_checkpoint(run).name == "step-00000020"
    assert not half.exists()


def test_a_checkpoint_that_is_half_deleted_is_none(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(run, folder.path)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            checkpoint.delete_checkpoint(folder.checkpoint(9))
    assert kept_steps(folder) == [0, 6, 12]


def test_evaluating_more_often_changes_no_training_loss(
    workplace: Path, uninterrupted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate, n_tokens = Trainer.evaluate, set[int]()

    def counted(trainer: Trainer) -> Evaluation:
        evaluation = evaluate(trainer)
        n_tokens.add(evaluation.tokens)
        return evaluation

    monkeypatch.setattr(Trainer, "evaluate", counted)
    done = minigpt("train", RECIPE, "run.name=often", *CHANGES, "training.evaluate_every=1", cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert n_tokens == {500}, "training.evaluation_tokens"
    often, seldom = (
        [line["loss"] for line in metrics(path) if "loss" in line]
        for path in (workplace / "runs" / "often", uninterrupted)
    )
    assert often == seldom


def test_a_full_disk_is_told_and_leaves_the_last_checkpoint_whole(workplace: Path, uninterrupted: Path) -> None:
    run, done = doomed("full disk", workplace)
    assert done.status == 2, done.errors
    (error,) = [line for line in done.errors.splitlines() if line.startswith("error: ")]
    assert "cannot be written (" in error
    assert "the checkpoint of step 3 is whole" in error
    assert "--resume" in error
    assert minigpt("train", "--resume", run, cwd=workplace).returncode == 0
    assert_same(run, uninterrupted)


def test_a_disk_too_full_for_a_first_checkpoint_leaves_a_run_that_goes_on(workplace: Path, uninterrupted: Path) -> None:
    run, done = doomed("full disk at once", workplace)
    assert done.status == 2, done.errors
    assert "there is no checkpoint yet: mend that, or make room, then go on with: minigpt train" in done.errors
    assert minigpt("train", "--resume", run, cwd=workplace).returncode == 0
    assert_same(run, uninterrupted)


def test_a_run_killed_before_its_first_checkpoint_goes_on(workplace: Path, uninterrupted: Path) -> None:
    run, done = doomed("killed before the first checkpoint", workplace)
    assert done.status == -signal.SIGKILL, done.errors
    assert minigpt("train", "--resume", run, cwd=workplace).returncode == 0
    assert_same(run, uninterrupted)


def test_only_what_minigpt_has_written_is_deleted(workplace: Path, run: Path) -> None:
    command = ["train", RECIPE, *TINY, "run.name=mine", "training.max_steps=9"]
    assert minigpt(*command, cwd=workplace).returncode == 0
    folder = workplace / "runs" / "mine"
    own = [folder / name for name in ("notes.txt", "checkpoints/mine/a", "checkpoints/step-old/a", "tensorboard/a")]
    own += [folder / "checkpoints/step-00000003/a", folder / "checkpoints/step-00000009/a"]
    for path in own:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    assert minigpt("train", "--resume", folder, "training.max_steps=30", cwd=workplace).returncode == 0
    assert minigpt(*command, "--overwrite", cwd=workplace).returncode == 0
    assert [path.read_text() for path in own] == ["mine"] * len(own)


def test_a_run_that_has_ended_keeps_what_it_can_go_on_from(workplace: Path, run: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(run, folder.path)
    before = read_index(folder)
    assert minigpt("train", "--resume", folder.path, cwd=workplace).returncode == 0
    after = read_index(folder)
    assert before.previous == 9
    assert (after.last, after.best, after.previous) == (before.last, before.best, before.previous)
    assert (folder.checkpoint(9) / "training_state.pt").exists()


def test_a_damaged_old_checkpoint_does_not_fail_a_run_that_has_ended(
    workplace: Path, run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run, folder)
    (folder / "checkpoints/step-00000000/model.safetensors").write_bytes(b"damaged")
    done = minigpt("train", "--resume", folder, "training.max_steps=15", cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert "step-00000000/model.safetensors: damaged" in done.stderr
    assert (folder / "explain.html").exists()


def test_a_loss_that_is_not_finite_stops_the_run_with_advice(workplace: Path, run: Path) -> None:
    changes = ["optimizer.name=adamw", "optimizer.learning_rate=10", "optimizer.weight_decay=10"]  # each step times -99
    changes += ["schedule.warmup_steps=0", "training.max_steps=60"]
    done = minigpt("train", RECIPE, "run.name=wild", *TINY, *changes, cwd=workplace)
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2
    wild = workplace / "runs" / "wild"
    good = int(re.findall(r"the last checkpoint before the loss rose is step (\d+)", error)[0])
    advice = [f"--checkpoint={good}", "optimizer.learning_rate=0.001", "optimizer.weight_decay=0"]
    assert f"--resume runs/wild --checkpoint {good}" in error
    done = minigpt("train", "--resume", wild, *advice, cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert metrics(wild)[-1]["step"] == 60


def test_an_existing_run_is_replaced_only_when_told_to(workplace: Path, run: Path) -> None:
    command = ["train", RECIPE, "run.name=again", *TINY, "training.max_steps=1"]
    assert minigpt(*command, cwd=workplace).returncode == 0
    assert minigpt(*command, cwd=workplace).returncode == 2
    assert minigpt(*command, "--overwrite", cwd=workplace).returncode == 0


def test_a_run_that_another_process_has_made_meanwhile_is_not_replaced(
    workplace: Path, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = workplace / "runs" / "meanwhile"

    def meanwhile(*arguments: Any) -> Any:
        shutil.copytree(run, folder)
        return prepare_corpus(*arguments)

    monkeypatch.setattr(training_run, "prepare_corpus", meanwhile)
    done = minigpt("train", RECIPE, "run.name=meanwhile", *TINY, "training.max_steps=1", cwd=workplace)
    assert (done.returncode, "exists already" in done.stderr) == (2, True), done.stderr
    assert metrics(folder) == metrics(run)


def test_what_stops_all_processes_is_told_once(workplace: Path) -> None:
    """In two forks, with the environment and the store that torchrun gives them."""
    store = torch.distributed.TCPStore("localhost", 0, is_master=True)
    command = ["train", RECIPE, *TINY, "run.name=unshared", "training.batch_size=3"]
    common = {"WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": str(store.port)}
    common["TORCHELASTIC_USE_AGENT_STORE"] = "True"
    forks = []
    for rank in ("0", "1"):
        environment = {**common, "RANK": rank, "LOCAL_RANK": rank}
        forks.append(started(*command, cwd=workplace, before=partial(os.environ.update, environment)))
    ended = [fork.end() for fork in forks]
    assert [done.status for done in ended] == [2, 2], ended
    assert sorted(done.errors.count("error: ") for done in ended) == [0, 1], ended
    told = "training.batch_size = 3: must be divisible by the 2 processes; set 2"
    assert told in ended[0].errors + ended[1].errors


@pytest.mark.parametrize(("world_size", "first"), [(None, True), ("1", True), ("2", False)])
def test_a_rank_counts_only_among_several(world_size: str | None, first: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    if world_size is not None:
        monkeypatch.setenv("WORLD_SIZE", world_size)
    assert is_first() == first


def test_two_processes_have_the_loss_curve_of_one(workplace: Path, run: Path) -> None:
    script = RECIPE.parents[1] / "scripts" / "train.py"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", script, RECIPE]
    done = subprocess.run([*command, *TINY, "run.name=two"], cwd=workplace, capture_output=True, text=True, check=False)
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


def trained(workplace: Path, name: str, text: Path, *changes: str) -> Path:
    command = ["train", RECIPE, *TINY, f"run.name={name}", f"data.source={text.name}", "model.dropout=0.1", *changes]
    done = minigpt(*command, cwd=workplace)
    assert done.returncode == 0, done.stderr
    return workplace / "runs" / name


@pytest.fixture(scope="module")
def own_text(workplace: Path) -> Path:
    text = workplace / "own.txt"
    text.write_text("".join(f"The {number}th cat sat on {number * number} mats.\n" for number in range(2000)))
    return text


def test_a_run_sees_every_row_once_whatever_its_batches(
    workplace: Path, own_text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    start = Batches._start
    monkeypatch.setattr(Batches, "_start", lambda batches, row: rows.append(row) or start(batches, row))
    run = trained(workplace, "rows", own_text, "training.max_steps=6", "training.batch_size=8")
    changes = ["training.max_steps=12", "training.batch_size=4", "training.gradient_accumulation_steps=2"]
    assert minigpt("train", "--resume", run, *changes, cwd=workplace).returncode == 0
    assert sorted(set(rows)) == list(range(6 * 8 + 6 * 4 * 2))
    assert len(rows) == 6 * 8 + 6 * 4 * 2 + 8  # the first start looks at the shape of a batch


REFUSED: dict[str, tuple[list[str], list[str]]] = {
    "seed": (["run.seed=7"], ["run.seed = 7", "come from 1337"]),
    "text": (["data.source=other.txt"], ["other.txt: is not the text", "data.source=PATH"]),
    "text column": (["data.text_column=story"], ["data.text_column = story: cannot change"]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_run_does_not_go_on_as_another(name: str, workplace: Path, own_text: Path) -> None:
    changes, told = REFUSED[name]
    (workplace / "other.txt").write_text(own_text.read_text().replace("cat", "dog"))
    run = trained(workplace, f"same-{changes[0][:8]}", own_text)
    done = minigpt("train", "--resume", run, "training.max_steps=15", *changes, cwd=workplace)
    assert done.returncode == 2
    for part in told:
        assert part in done.stderr


def test_with_dropout_a_run_goes_on_with_as_many_processes(uninterrupted: Path) -> None:
    folder = RunFolder(uninterrupted)
    config, now = load_recipe(folder.config), asdict(read_metadata(folder, 18))
    check_origins(config, folder, 18, now)
    now["processes"] = 2
    with pytest.raises(UserError, match=r"dropout = 0\.1 of 2 processes is not that of 1, .*; start so many"):
        check_origins(config, folder, 18, now)
    check_origins(load_recipe(folder.config, ["model.dropout=0"]), folder, 18, now)


def test_an_edited_text_is_another(workplace: Path, own_text: Path) -> None:
    text = workplace / "edited.txt"
    text.write_text(own_text.read_text())
    run = trained(workplace, "edited", text)
    text.write_text(own_text.read_text() + "more")
    done = minigpt("train", "--resume", run, "training.max_steps=15", cwd=workplace)
    assert (done.returncode, "is not the text" in done.stderr) == (2, True)


def test_a_run_finds_its_text_from_every_folder_and_under_every_name(
    workplace: Path, own_text: Path, tmp_path: Path
) -> None:
    run = trained(workplace, "found", own_text)
    moved = tmp_path / "moved"
    shutil.copytree(run, moved)
    here = minigpt("evaluate", run, "--json", cwd=workplace)
    there = minigpt("evaluate", moved, "--json", cwd=tmp_path)
    assert json.loads(there.stdout)["loss"] == json.loads(here.stdout)["loss"]
    shutil.copy(own_text, tmp_path / "copy.txt")
    done = minigpt("train", "--resume", moved, "data.source=copy.txt", "training.max_steps=15", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert minigpt("train", "--resume", run, "training.max_steps=15", cwd=workplace).returncode == 0
    assert_same(run, moved)


def test_an_edited_architecture_is_refused(run: Path, tmp_path: Path) -> None:
    edited = tmp_path / "edited"
    shutil.copytree(run, edited)
    recipe = edited / "config.yaml"
    recipe.write_text(recipe.read_text().replace("n_kv_heads: 2", "n_kv_heads: 1").replace("n_heads: 2", "n_heads: 1"))
    for command in (["sample", edited], ["train", "--resume", edited, "training.max_steps=15"]):
        done = minigpt(*command, cwd=tmp_path)
        assert (done.returncode, "its checkpoint has 2; put that back" in done.stderr) == (2, True), done.stderr


def test_less_patience_than_was_used_up_ends_a_run(workplace: Path, run: Path) -> None:
    changes = ["optimizer.learning_rate=1e-12", "optimizer.adamw_learning_rate=1e-12", "optimizer.name=adamw"]
    changes += ["training.max_steps=11", "training.evaluate_every=2", "training.checkpoint_every=3"]
    assert minigpt("train", RECIPE, "run.name=impatient", *TINY, *changes, cwd=workplace).returncode == 0
    done = minigpt("train", "--resume", "runs/impatient", "training.patience=1", "training.max_steps=50", cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert metrics(workplace / "runs" / "impatient")[-1]["step"] < 20
