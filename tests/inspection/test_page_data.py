"""What the explain page is given, looked at without a browser."""

import base64
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from minigpt.inspection import own_text, page_data
from minigpt.inspection.packing import pack_half
from minigpt.inspection.trace import trace
from minigpt.runs import Run, RunFolder, load_run
from minigpt.storage.metrics import metrics_line


@pytest.fixture(scope="module")
def loaded(run: Path) -> Run:
    return load_run(run)


def writes(*token_ids: int) -> Callable[..., list[Any]]:
    """Generation of these tokens, the same ones in every row."""
    return lambda *_, **__: [SimpleNamespace(token_ids=torch.full((99,), token)) for token in token_ids]


def test_a_curve_of_many_points_goes_to_its_end(loaded: Run, tmp_path: Path) -> None:
    lines = ({"step": i, "tokens": i, "seconds": 1.0, "loss": 2.0} for i in range(1, 1001))
    (tmp_path / "metrics.jsonl").write_text("".join(map(metrics_line, lines)))
    points = page_data.losses(replace(loaded, folder=RunFolder(tmp_path)), "loss")
    assert points[-1][0] > 990
    assert page_data.POINTS / 2 <= len(points) <= page_data.POINTS


def test_nothing_is_written_beyond_the_end_of_a_text(loaded: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    end, (word, *_) = loaded.tokenizer.end_of_text, loaded.encode_prompt("cat")
    traced = trace(loaded.model, [word])
    traced.logits[-1, end] = 99
    monkeypatch.setattr(page_data, "CANDIDATES", 99)
    monkeypatch.setattr(page_data, "generate", writes(word, end, word))
    monkeypatch.setattr(own_text, "generate", writes(word, end, end))
    first, *others = page_data._continuations(loaded, [word], traced)
    assert (first["id"], first["text"]) == (end, "")
    assert all(one["text"] == one["next"] + loaded.tokenizer.decode([word]) for one in others)
    begin = loaded.tokenizer.encode_prompt("", True)
    assert own_text.own_texts(replace(loaded)) == [[*begin, word, end]] * 99


def test_a_number_too_large_for_half_the_room_is_still_one() -> None:
    packed = base64.b64decode(pack_half(np.array([1e6, -1e6, 1], np.float32))["half"])
    assert np.frombuffer(packed, "<f2").tolist() == [65504, -65504, 1]
