"""A recipe is tried out, and nothing stays behind."""

import math
import os
import re
import signal
from pathlib import Path

import pytest
from browser import chromium, needs_chromium
from conftest import RECIPE, TINY, minigpt

from minigpt.config.recipe import load_recipe
from minigpt.training import rehearsal
from minigpt.training.rehearsal import HIGHEST, LOWEST, TEST_STEPS, judge, raised


def files(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.mark.parametrize(("prepared", "links"), [(True, True), (True, False), (False, True)])
def test_a_dry_run_trains_and_evaluates_and_writes_nothing(
    prepared: bool, links: bool, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, target: Path) -> None:
        raise OSError(f"Windows links {path} to {target} for developers only")

    if not links:
        monkeypatch.setattr(Path, "symlink_to", refuse)
    place = run.parents[1] if prepared else tmp_path
    before = files(place)
    done = minigpt("train", RECIPE, *TINY, "--dry-run", cwd=place)
    assert done.returncode == 0, done.stderr
    assert "two steps, one evaluation (loss 6." in done.stdout  # about ln(1024)
    assert files(place) == before


def test_a_dry_run_finds_what_is_wrong(tmp_path: Path) -> None:
    done = minigpt("train", RECIPE, *TINY, "data.source=nowhere.txt", "--dry-run", cwd=tmp_path)
    assert (done.returncode, "nowhere.txt" in done.stderr) == (2, True)
    done = minigpt("train", "--resume", "runs/x", "--dry-run", cwd=tmp_path)
    assert (done.returncode, "leave --resume away" in done.stderr) == (2, True)


def test_rates_rise_by_equal_factors() -> None:
    assert raised(0) == pytest.approx(LOWEST)
    assert raised(TEST_STEPS - 1) == pytest.approx(HIGHEST)
    assert raised(11) / raised(10) == pytest.approx(raised(91) / raised(90))


def test_the_rate_by_which_most_of_the_fall_is_done_is_suggested() -> None:
    rates = [10 ** (-5 + i / 30) for i in range(150)]
    losses = [3 - 2 / (1 + math.exp(-(i - 75) / 5)) + (math.exp((i - 120) / 4) if i > 110 else 0) for i in range(150)]
    test = judge(rates, losses)
    assert test.suggestion is not None
    assert 76 < rates.index(test.suggestion) < 84  # 70% of a logistic fall: 75 + 5 ln(7 / 3) = 79
    assert 105 < len(test.losses) < 125  # and what comes after the explosion is left out
    (found,) = test.findings()
    begun, lowest, risen = map(float, re.findall(r"[\d.e-]*\d", found.partition("(")[0]))
    assert rates[50] < begun < rates[70] < rates[90] < lowest < risen < rates[115]
    level = judge([0.1, 0.2], [2.0, 2.0])
    assert level.suggestion is None
    assert "did not fall" in level.findings()[0]


@needs_chromium
def test_a_test_of_learning_rates_gives_a_picture_and_a_suggestion(run: Path, tmp_path: Path) -> None:
    done = minigpt("train", RECIPE, *TINY, "--find-lr", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    suggested = float(done.stdout.split("optimizer.learning_rate=")[1].split()[0])
    assert 1e-4 < suggested < 2
    optimizer = load_recipe(RECIPE).optimizer
    other = float(done.stdout.split("optimizer.adamw_learning_rate=")[1].split(":")[0])
    assert other / suggested == pytest.approx(optimizer.adamw_learning_rate / optimizer.learning_rate, rel=0.1)
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"stories-learning-rates.html"}
    with chromium(viewport={"width": 400, "height": 800}) as page:
        page.goto(f"file://{tmp_path}/runs/stories-learning-rates.html")
        page.wait_for_selector(".js-plotly-plot .scatterlayer path.js-line")
        assert page.locator(".shapelayer path").count() == 1
        assert "rose again from" in page.inner_text("main")


def test_a_stopped_test_of_learning_rates_leaves_a_picture_and_suggests_nothing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop_at_60(step: int) -> float:
        if step == 60:
            os.kill(os.getpid(), signal.SIGINT)
        return raised(step)

    monkeypatch.setattr(rehearsal, "raised", stop_at_60)
    done = minigpt("train", RECIPE, *TINY, "--find-lr", cwd=tmp_path)
    assert (done.returncode, "interrupted" in done.stderr) == (130, True)
    assert "stopped: higher rates were not tried" in done.stdout
    assert "a good rate" not in done.stdout
    assert "stopped: higher rates" in (tmp_path / "runs" / "stories-learning-rates.html").read_text()
