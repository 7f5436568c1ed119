"""The report: in a real browser, at the end of a run and where it was stopped."""

import json
from pathlib import Path

import numpy as np
import pytest
from browser import chromium, needs_chromium
from conftest import RECIPE, TINY, minigpt

from minigpt.data import stories
from minigpt.data.tokens import TokenStream
from minigpt.evaluation.text import known_entropy
from minigpt.experiments import charts, report
from minigpt.runs import load_run
from minigpt.training import trainer


@needs_chromium
def test_the_report_draws_its_curves_and_asks_nothing_of_the_network(run: Path) -> None:
    with chromium(viewport={"width": 400, "height": 800}) as page:
        page.goto(f"file://{run}/report.html")
        page.wait_for_selector(".js-plotly-plot .scatterlayer path.js-line")
        assert "validation loss" in page.inner_text("body")
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
        evaluations = [
            line for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) if "entropy" in line
        ]
        drawn = page.evaluate("document.querySelector('.chart').data.at(-1)")
        assert (drawn["name"], drawn["y"]) == ("entropy", 2 * [evaluations[0]["entropy"]])
        assert page.locator("a[href='explain.html']").count() == 1
    assert (run / "report.html").stat().st_size < 2.2e6


@needs_chromium
def test_a_browser_that_cannot_unpack_the_library_is_told(run: Path) -> None:
    with chromium() as page:
        page.add_init_script("delete window.DecompressionStream")
        page.goto(f"file://{run}/report.html")
        assert "This browser cannot unpack" in page.inner_text("main")


def test_a_run_stopped_before_its_first_evaluation_leaves_a_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = trainer.Trainer.step

    def stopped(self: trainer.Trainer) -> None:
        step(self)
        self.interruption.requested = self.progress.step == 4

    monkeypatch.setattr(trainer.Trainer, "step", stopped)
    done = minigpt("train", RECIPE, "run.name=halted", *TINY, cwd=tmp_path)
    assert done.returncode == 130, done.stderr
    report = (tmp_path / "runs" / "halted" / "report.html").read_text()
    assert "Stopped before its end: saved at step 4; go on with --resume" in report
    assert "training from" in report  # the curve, in words
    assert "explain.html" not in report
    assert 'http-equiv="refresh"' not in report


def test_the_entropy_is_that_of_the_whole_stories_that_are_evaluated_on(run: Path) -> None:
    tokenizer = load_run(run).tokenizer
    texts = list(stories.generate(3, seed=5))
    ids = [token for text in texts for token in (tokenizer.end_of_text, *tokenizer.encode(text).tolist())]
    last = len(ids) - len(tokenizer.encode(texts[2])) - 1  # where the third story begins
    tokens = TokenStream([np.array(ids)])
    nats = -sum(map(stories.log_probability, texts[:2]))
    assert known_entropy("stories", tokens, tokenizer, last + 5) == pytest.approx(nats / last)
    assert known_entropy("mine.txt", tokens, tokenizer) is None
    assert known_entropy("stories", TokenStream([np.array(ids[1:])]), tokenizer) is None


def test_the_gap_is_the_validation_loss_minus_the_training_loss_at_the_same_step() -> None:
    evaluations = [{"step": 1, "loss": 3.0}, {"step": 2, "validation_loss": 2.5}, {"step": 3, "validation_loss": 2.0}]
    smooth = [{"step": 1, "loss": 3.0}, {"step": 2, "loss": 2.0}]
    assert report.generalisation_gap(evaluations, smooth) == [{"step": 2, "gap": 0.5}]


def test_a_long_curve_keeps_its_last_point_and_no_more_than_can_be_seen() -> None:
    lines = [{"step": i, "loss": float(i)} for i in range(50_001)]
    drawn = charts.curve("loss", lines, "loss")
    assert drawn["x"][-1] == 50_000
    assert charts.DRAWN / 2 <= len(drawn["x"]) <= charts.DRAWN
