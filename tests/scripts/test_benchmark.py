"""The benchmark measures what it says it does: here with small models and texts, and without looking at the times."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import TINY

from benchmarks import gpu, sample, step, train

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark.py"
SHAPE = {"n_layers": 1, "n_heads": 2, "d_model": 32, "vocab_size": 40, "context_length": 64}


def test_sampling_is_compared_for_one_text_and_for_sixteen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sample, "SHAPES", {"small": SHAPE})
    monkeypatch.setattr(sample, "TARGETS", {"small": 5})
    sample.sample(repeats=1, new_tokens=3, as_json=True)
    one, many = json.loads(capsys.readouterr().out)["rows"]
    assert (one["name"], many["name"]) == ("small", "small, 16 texts at once")
    assert one["target"] == 5
    for row in (one, many):
        rates = row["tokens_per_second"]
        assert row["speedup"] == pytest.approx(rates["minigpt"] / rates["transformers"])
        assert 0 < row["fraction_of_limit"] < 1
    assert many["times_one_text"] == pytest.approx(
        many["tokens_per_second"]["minigpt"] / one["tokens_per_second"]["minigpt"]
    )


def test_both_sides_of_the_sampling_benchmark_write_the_same_text() -> None:
    import torch

    from minigpt.config.hyperparameters import ModelConfig, SamplingConfig
    from minigpt.generation.generate import generate
    from minigpt.inference.packed import pack
    from minigpt.interop.huggingface import to_transformers
    from minigpt.model.gpt import GPT

    model = GPT(ModelConfig(**SHAPE)).eval()
    model.initialise(0)
    settings = SamplingConfig(temperature=0, max_new_tokens=20)
    ours = [int(s.token_ids) for s in generate(pack(model, torch.float32), [1] * 8, settings, end_of_text=-1, seed=0)]
    theirs = to_transformers(model).generate(
        torch.ones(1, 8, dtype=torch.long), do_sample=False, max_new_tokens=20, min_new_tokens=20, pad_token_id=0
    )
    assert ours == theirs[0, 8:].tolist()


def test_preparation_is_compared_with_tiktokens_own() -> None:
    command = [
        sys.executable,
        SCRIPT,
        "prepare",
        "--megabytes",
        "1",
        "--repeats",
        "1",
        "--vocab-size",
        "300",
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    document = json.loads(done.stdout)
    assert document["ratio"] == pytest.approx(document["seconds"]["minigpt"] / document["seconds"]["tiktoken"])
    assert document["memory_megabytes"]["minigpt"] > 50
    assert document["start_up_seconds"] > 0


def test_training_is_timed_to_the_first_evaluation_that_reaches_the_loss(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("To be, or not to be, that is the question. " * 300)
    recipe = SCRIPT.parents[1] / "configs/shakespeare_fast.yaml"
    changes = [*TINY, f"run.directory={tmp_path / 'run'}", f"data.directory={tmp_path}", f"data.source={text}"]
    first = train.time_to_loss(recipe, tmp_path / "run", changes, 100.0)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    evaluations = [(line["seconds"], line["validation_loss"]) for line in lines if "validation_loss" in line]
    assert len(evaluations) == 2
    assert (first["seconds"], first["loss"]) == evaluations[0]


def test_the_parts_of_a_training_step_add_up_to_its_share_of_the_matrix_rate(
    capsys: pytest.CaptureFixture[str],
) -> None:
    step.step(SCRIPT.parents[1] / "configs/stories.yaml", TINY, repeats=2, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert set(document["parts"]) == {"forward", "backward", "clipping", "muon", "adamw"}
    assert sum(document["parts"].values()) == pytest.approx(document["seconds"], rel=0.5)
    assert document["tokens_per_second"] == pytest.approx(4 * 32 / document["seconds"])
    assert 0 < document["utilisation_without_masked_half"] < document["utilisation"] < 1
    assert document["muon_share"] == pytest.approx(document["parts"]["muon"] / document["seconds"])


def test_peak_memory_grows_with_all_logits_at_once() -> None:
    recipe, size = SCRIPT.parents[1] / "configs/stories.yaml", 16_000
    changes = [*TINY, "model.context_length=256", "training.batch_size=8"]
    command = [sys.executable, SCRIPT, "memory", recipe, *changes, "--vocab-size", str(size), "--json"]
    peaks = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["peak_megabytes"]
    assert peaks["all logits at once"] > peaks["minigpt"] + 8 * 256 * size * 4 / 1e6


def test_the_gpus_benchmark_trains_measures_and_writes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("To be, or not to be, that is the question. " * 300)
    tiny = [change for change in TINY if not change.startswith(("tokenizer", "data"))]
    monkeypatch.setattr(sample, "SHAPES", {"small": SHAPE})
    monkeypatch.setattr(gpu, "SHAKESPEARE", tiny)
    monkeypatch.setattr(gpu, "LOSS", 100.0)
    gpu.gpu([*tiny, "model.vocab_size=500"], text, "cpu", steps=1, shakespeare_steps=12, as_json=True)
    document = json.loads(capsys.readouterr().out)
    training = document["training"]
    assert 0 < training["utilisation"]["measured"] < 1
    assert not training["compiled"]
    assert document["shakespeare"]["loss"] < 100
    assert document["inference"]["small"]["many"] > 0
