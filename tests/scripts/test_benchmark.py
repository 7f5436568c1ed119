"""The benchmark measures what it says it does: here with small models and texts, and without looking at the times."""

import json
import math
from itertools import accumulate, cycle
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from conftest import TINY, minigpt

from benchmarks import gpu, memory, prepare, sample, step, train
from minigpt.config.hyperparameters import ModelConfig, SamplingConfig
from minigpt.generation.generate import generate
from minigpt.hardware import precision
from minigpt.inference import arrays, packed
from minigpt.inference.packed import pack
from minigpt.interop.huggingface import to_transformers
from minigpt.model.gpt import GPT

SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark.py"
SHAPE = {"n_layers": 1, "n_heads": 2, "d_model": 32, "vocab_size": 40, "context_length": 64}


def run_here(*words: object) -> None:
    """Run a command in this process, which has torch already."""
    minigpt(*words, cwd=Path()).check_returncode()


def test_sampling_is_compared_for_one_text_and_for_sixteen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sample, "SHAPES", {"small": SHAPE})
    monkeypatch.setattr(sample, "TARGETS", {"small": 5})
    monkeypatch.setattr(packed, "load", lambda: None)
    monkeypatch.setattr(arrays, "WORTH_TORCH", math.inf)
    sample.sample(repeats=1, new_tokens=3, as_json=True)
    document = json.loads(capsys.readouterr().out)
    one, many = document["rows"]
    assert (one["name"], many["name"]) == ("small", "small, 16 texts at once")
    assert one["target"] == 5
    read = 4 * sum(p.numel() for p in GPT(ModelConfig(**SHAPE)).parameters() if p.ndim == 2)
    for row, n_texts in ((one, 1), (many, 16)):
        rates = row["tokens_per_second"]
        assert row["speedup"] == pytest.approx(rates["minigpt"] / rates["transformers"])
        assert row["fraction_of_limit"] == pytest.approx(
            rates["minigpt"] / n_texts * read / (document["memory_gigabytes_per_second"] * 1e9)
        )
    assert many["times_one_text"] == pytest.approx(
        many["tokens_per_second"]["minigpt"] / one["tokens_per_second"]["minigpt"]
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_the_bytes_of_a_step_are_those_of_its_matrices(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    model = GPT(ModelConfig(**SHAPE)).eval()
    model.initialise(0)
    weights = sum(parameter.numel() for parameter in model.parameters() if parameter.ndim == 2)
    monkeypatch.setattr(arrays, "WORTH_TORCH", 0)
    found = pack(model, dtype)
    assert isinstance(found, arrays.ArrayGPT)
    assert found.n_bytes == pytest.approx(weights * dtype.itemsize, rel=0.1)


def test_both_sides_of_the_sampling_benchmark_write_the_same_text() -> None:
    model = GPT(ModelConfig(**SHAPE)).eval()
    model.initialise(0)
    settings = SamplingConfig(temperature=0, max_new_tokens=20)
    ours = [int(s.token_ids) for s in generate(pack(model, torch.float32), [1] * 8, settings, end_of_text=-1, seed=0)]
    theirs = to_transformers(model).generate(
        torch.ones(1, 8, dtype=torch.long), do_sample=False, max_new_tokens=20, min_new_tokens=20, pad_token_id=0
    )
    assert ours == theirs[0, 8:].tolist()


def test_preparation_is_compared_with_tiktokens_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    model = {"context_length": 16, "n_layers": 1, "n_heads": 2, "d_model": 16}
    recipe = {"tokenizer": {"kind": "byte"}, "model": model, "training": {"batch_size": 2}}
    (tmp_path / "shakespeare.yaml").write_text(yaml.safe_dump(recipe))
    monkeypatch.setattr(prepare, "CONFIGS", tmp_path)
    monkeypatch.setattr(prepare, "run_minigpt", run_here)
    prepare.prepare(megabytes=1, vocab_size=300, repeats=1, as_json=True)
    document = json.loads(capsys.readouterr().out)
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
    monkeypatch.setattr(train, "run_minigpt", run_here)
    first = train.time_to_loss(recipe, tmp_path / "run", changes, 100.0)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    evaluations = [(line["seconds"], line["validation_loss"]) for line in lines if "validation_loss" in line]
    assert len(evaluations) == 2
    assert (first["seconds"], first["loss"]) == evaluations[0]


def test_the_parts_of_a_training_step_add_up_to_its_share_of_the_matrix_rate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = accumulate(cycle([100, 3, 6, 0.5, 1, 0.25]))  # seconds before a step, and of each of its parts
    monkeypatch.setattr(step, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    monkeypatch.setattr(precision, "matmul_rate", lambda *_: 1e9)
    step.step(SCRIPT.parents[1] / "configs/stories.yaml", TINY, repeats=2, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document["parts"] == {"forward": 3, "backward": 6, "clipping": 0.5, "muon": 1, "adamw": 0.25}
    assert document["seconds"] == 10.75
    assert document["tokens_per_second"] == pytest.approx(4 * 32 / 10.75)
    d, v, f, layers, length = 32, 1024, 96, 2, 32
    weights, attention = v * d + layers * (4 * d * d + 3 * d * f), layers * length * d
    for name, flops in (
        ("utilisation", 6 * weights + 12 * attention),
        ("utilisation_without_masked_half", 6 * weights + 6 * attention),
    ):
        assert document[name] == pytest.approx(flops * 4 * 32 / 10.75 / 1e9)
    assert document["muon_share"] == pytest.approx(1 / 10.75)


def test_peak_memory_grows_with_all_logits_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    size = 16_000
    changes = [*TINY, "model.context_length=256", "training.batch_size=8"]
    memory.memory(SCRIPT.parents[1] / "configs/stories.yaml", changes, size, as_json=True)
    peaks = json.loads(capsys.readouterr().out)["peak_megabytes"]
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
    monkeypatch.setattr(train, "run_minigpt", run_here)
    gpu.gpu([*tiny, "model.vocab_size=500"], text, "cpu", steps=1, shakespeare_steps=12, as_json=True)
    document = json.loads(capsys.readouterr().out)
    training = document["training"]
    assert 0 < training["utilisation"]["measured"] < 1
    assert not training["compiled"]
    assert document["shakespeare"]["loss"] < 100
    assert document["inference"]["small"]["many"] > 0
