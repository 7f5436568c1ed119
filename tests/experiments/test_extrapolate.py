"""Predictions of larger runs."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import TINY, minigpt

from minigpt.errors import UserError
from minigpt.experiments.extrapolate import NOISE, extrapolate, predict
from minigpt.storage.metrics import metrics_line

COMPUTES = np.array([1e12, 3e12, 1e13, 3e13])


def law(compute: object) -> object:
    return 1.2 + 600 * np.asarray(compute, float) ** -0.25


def test_an_exact_law_is_continued() -> None:
    loss, low, high = predict(COMPUTES, np.asarray(law(COMPUTES)), 1e15)
    assert loss == pytest.approx(float(np.asarray(law(1e15))), rel=2e-3)
    assert low < loss < high


def test_the_truth_lies_in_the_interval_nearly_always_and_the_interval_is_of_use() -> None:
    rng, hits, widths = np.random.default_rng(0), 0, []
    truth = float(np.asarray(law(2e14)))
    for _ in range(200):
        losses = np.asarray(law(COMPUTES)) * (1 + NOISE * rng.normal(size=4))
        _, low, high = predict(COMPUTES, losses, 2e14)
        hits += low <= truth * (1 + NOISE * rng.normal()) <= high
        widths.append(high - low)
    assert hits >= 0.93 * 200
    assert np.median(widths) < 0.25 * truth


def test_more_runs_make_the_interval_narrower_and_larger_steps_wider() -> None:
    many = np.geomspace(1e12, 3e13, 12)
    _, low, high = predict(COMPUTES[:3], np.asarray(law(COMPUTES[:3])), 1e15)
    _, low_many, high_many = predict(many, np.asarray(law(many)), 1e15)
    _, low_near, high_near = predict(COMPUTES[:3], np.asarray(law(COMPUTES[:3])), 2e13)
    assert high_many - low_many < high - low
    assert high_near - low_near < high - low


def test_runs_that_become_worse_are_told() -> None:
    with pytest.raises(UserError, match="do not become better"):
        predict(COMPUTES, np.array([1.0, 1.1, 1.2, 1.3]), 1e15)


def test_three_runs_are_enough_and_two_are_not(run: Path, tmp_path: Path) -> None:
    paths = []
    for i, width in enumerate((16, 32, 64)):
        path = tmp_path / f"width{width}"
        shutil.copytree(run, path)
        recipe = yaml.safe_load((path / "config.yaml").read_text())
        recipe["tokenizer"]["kind"] = "bpe"
        recipe["model"] |= {"d_model": width, "d_head": width // 2, "d_ff": 2 * width}
        (path / "config.yaml").write_text(yaml.safe_dump(recipe))
        line = {"step": 9, "tokens": 1000, "seconds": 6.0, "validation_loss": (3.0, 2.5, 2.2)[i], "bits_per_byte": 1.0}
        (path / "metrics.jsonl").write_text(metrics_line(line))
        paths.append(path)
    recipe_file = tmp_path / "large.yaml"
    tree = {key: {} for key in ("data", "model", "training", "run", "tokenizer", "sampling")}
    for change in TINY:
        section, key = change.split("=")[0].split(".")
        tree[section][key] = yaml.safe_load(change.split("=")[1])
    recipe_file.write_text(yaml.safe_dump(tree | {"model": tree["model"] | {"d_model": 128}}))
    prediction = extrapolate(paths, recipe_file)
    assert 1 < prediction.loss < 2.2
    assert prediction.low < prediction.loss < prediction.high
    assert 2 < prediction.times_largest < 20
    assert "times the largest run's, is predicted to reach a loss of" in prediction.describe(recipe_file)
    recipe_file.write_text(yaml.safe_dump(tree | {"model": tree["model"] | {"d_model": "auto"}}))
    failed = minigpt("compare", *paths, "--extrapolate", recipe_file, cwd=tmp_path)
    assert (failed.returncode, "model.d_model = auto" in failed.stderr) == (2, True)
    tree["tokenizer"]["kind"] = "byte"
    recipe_file.write_text(yaml.safe_dump(tree))
    failed = minigpt("compare", *paths, "--extrapolate", recipe_file, cwd=tmp_path)
    assert (failed.returncode, "tokenizer.kind = byte: the runs have bpe" in failed.stderr) == (2, True)
    failed = minigpt("compare", *paths[:2], "--extrapolate", recipe_file, cwd=tmp_path)
    assert (failed.returncode, "needs three runs" in failed.stderr) == (2, True)
