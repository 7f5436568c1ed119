"""Training that begins with another run's model."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from conftest import RECIPE, TINY, minigpt

from minigpt.config.hyperparameters import Config
from minigpt.runs import load_run

SHORT = ["training.max_steps=2", "training.evaluate_every=1", "training.batch_size=2", "run.compile=false"]
SHORT += ["training.evaluation_tokens=200", "sampling.max_new_tokens=3", "run.precision=float32"]


@pytest.fixture
def recipe(run: Path, tmp_path: Path) -> Path:
    """A recipe that says no more than it has to."""
    text = tmp_path / "text.txt"
    text.write_text("The quick brown fox jumps over the lazy dog. " * 60)
    path = tmp_path / "tune.yaml"
    path.write_text(f"data: {{source: '{text}'}}\ntraining: {{init_from: '{run}', max_steps: 2}}\n")
    return path


def train(recipe: Path, *changes: str, works: bool = True) -> tuple[Path, str]:
    place = recipe.parent / "tuned"
    done = minigpt("train", recipe, f"run.directory={place}", *SHORT, *changes, cwd=recipe.parent)
    assert done.returncode == (0 if works else 2), done.stderr
    return place, done.stderr


def loss_at(run: Path, step: int) -> float:
    import json

    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return next(float(line["validation_loss"]) for line in lines if line["step"] == step and "validation_loss" in line)


def test_weights_shape_and_tokenizer_are_those_of_the_other_run(recipe: Path, run: Path) -> None:
    tuned, told = train(recipe, "optimizer.learning_rate=1e-9", "optimizer.adamw_learning_rate=1e-9")
    before, after = load_run(run), load_run(tuned, "last")
    assert after.tokenizer.fingerprint == before.tokenizer.fingerprint
    assert after.config.model == before.config.model
    assert after.config.tokenizer == before.config.tokenizer
    for name, weight in before.model.state_dict().items():
        torch.testing.assert_close(after.model.state_dict()[name], weight, rtol=0, atol=1e-6)
    assert f"from     {run}, step {before.step}" in told
    assert after.step == 2, "the schedule begins anew"
    origin = after.config.training
    weights = before.folder.checkpoint(before.step) / "model.safetensors"
    assert (origin.init_from, origin.init_checkpoint) == (str(run), str(before.step))
    assert origin.init_sha256 == hashlib.sha256(weights.read_bytes()).hexdigest()


def test_its_own_config_repeats_it_and_other_weights_are_refused(recipe: Path, run: Path) -> None:
    tuned, _ = train(recipe)
    again = recipe.parent / "again"
    done = minigpt("train", tuned / "config.yaml", f"run.directory={again}", cwd=recipe.parent)
    assert done.returncode == 0, done.stderr
    assert loss_at(again, 2) == loss_at(tuned, 2)
    step = "training.init_checkpoint=6"
    done = minigpt("train", tuned / "config.yaml", f"run.directory={recipe.parent / 'x'}", step, cwd=recipe.parent)
    assert (done.returncode, "training.init_sha256" in done.stderr) == (2, load_run(run).step != 6), done.stderr


def test_it_goes_on_without_the_other_run(recipe: Path, run: Path) -> None:
    tuned, _ = train(recipe)
    tree = yaml.safe_load((tuned / "config.yaml").read_text())
    assert Config.model_validate(tree).training.init_from == str(run)
    moved = run.rename(run.with_name("moved"))
    try:
        done = minigpt("train", "--resume", tuned, "training.max_steps=3", cwd=recipe.parent)
    finally:
        moved.rename(run)
    assert done.returncode == 0, done.stderr
    done = minigpt("train", "--resume", tuned, "training.init_from=other", cwd=recipe.parent)
    assert (done.returncode, "training.init_from" in done.stderr) == (2, True), done.stderr


def test_a_longer_context_and_dropout_are_allowed(recipe: Path) -> None:
    tuned, _ = train(recipe, "model.context_length=64", "model.dropout=0.1")
    model = load_run(tuned).config.model
    assert (model.context_length, model.dropout) == (64, 0.1)


def test_learned_positions_allow_no_other_context(recipe: Path, run: Path) -> None:
    learned = recipe.parent / "learned"
    changes = ["model.position=learned", "training.max_steps=1", f"run.directory={learned}"]
    done = minigpt("train", RECIPE, *TINY, *changes, cwd=run.parents[1])
    assert done.returncode == 0, done.stderr
    _, told = train(recipe, f"training.init_from={learned}", "model.context_length=64", works=False)
    assert f"model.context_length = 64: {learned} (training.init_from) has 32" in told


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("model.n_layers=7", "model.n_layers = 7"),
        ("model.n_layers=auto", "model.n_layers = auto"),
        ("tokenizer.kind=byte", "tokenizer.kind = byte"),
        ("training.init_from=nowhere", "nowhere: not a run folder"),
        ("training.init_checkpoint=5", "training.init_checkpoint = 5"),
        (f"training.init_sha256={'0' * 64}", "training.init_sha256"),
    ],
)
def test_what_does_not_fit_is_named(change: str, says: str, recipe: Path) -> None:
    _, told = train(recipe, change, works=False)
    assert told.startswith("error: ")
    assert says in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("place", ["{}", "{}/../{}", "link"])
def test_a_run_is_not_replaced_by_one_that_begins_with_it(place: str, recipe: Path, run: Path) -> None:
    (recipe.parent / "link").symlink_to(run)
    directory = recipe.parent / place.replace("{}", str(run), 1).replace("{}", run.name)
    words: list[Any] = ["train", recipe, f"run.directory={directory}", "--overwrite"]
    done = minigpt(*words, cwd=recipe.parent)
    assert (done.returncode, "training.init_from" in done.stderr) == (2, True)
    load_run(run)


def test_a_plan_is_that_of_the_other_runs_model(recipe: Path, run: Path) -> None:
    done = minigpt("config", recipe, *SHORT, cwd=recipe.parent)
    assert done.returncode == 0, done.stderr
    assert f"{load_run(run).model.n_parameters():,} parameters" in done.stdout
