"""TensorBoard gets the numbers that metrics.jsonl has."""

import json
import sys
import warnings
from pathlib import Path

import pytest
from conftest import RECIPE, TINY, minigpt


def test_tensorboard_shows_what_metrics_has_also_after_a_run_was_gone_on_with(run: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    place = run.parents[1]
    done = minigpt("train", RECIPE, *TINY, "run.name=board", "run.tensorboard=true", cwd=place)
    assert done.returncode == 0, done.stderr
    done = minigpt("train", "--resume", "runs/board", "training.max_steps=18", cwd=place)
    assert done.returncode == 0, done.stderr
    events = EventAccumulator(str(place / "runs" / "board" / "tensorboard"))
    events.Reload()
    lines = [json.loads(line) for line in (place / "runs" / "board" / "metrics.jsonl").read_text().splitlines()]
    for key, tag in (("loss", "loss/training"), ("validation_loss", "loss/validation"), ("learning_rate",) * 2):
        written = {line["step"]: line[key] for line in lines if key in line}
        assert max(written) == 18
        assert {event.step: event.value for event in events.Scalars(tag)} == pytest.approx(written)
    assert events.Tensors("sample/text_summary")


def test_without_tensorboard_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    done = minigpt("train", RECIPE, *TINY, "run.tensorboard=true", cwd=tmp_path)
    assert (done.returncode, "minigpt[tensorboard]" in done.stderr) == (2, True)
    assert not (tmp_path / "runs").exists()
