"""A GPU gives the CPU's numbers. Each test has a twin on the CPU, so that it is known to be right before one is had.

On a machine with a GPU: python -m pytest -m cuda
"""

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import RECIPE, TINY, minigpt, random_model
from safetensors.torch import load_file

from minigpt.config.hyperparameters import SamplingConfig
from minigpt.generation.generate import generate
from minigpt.hardware import memory
from minigpt.inference.packed import pack, with_packed_blocks
from minigpt.inference.recorded import RecordedGPT
from minigpt.inspection.trace import trace
from minigpt.optimizers.muon import Muon, orthogonalise
from minigpt.runs import METADATA, STATE
from minigpt.storage.checksums import file_checksum, read_sealed, sealed
from minigpt.training.loss import TrainingLoss

TOKENS = torch.randint(50, (2, 16), generator=torch.Generator().manual_seed(0))
TOLERANCE = {"float32": 2e-4, "bfloat16": 2e-2, "float16": 5e-3}
CPU = torch.device("cpu")


@pytest.fixture(
    params=[
        "cpu",
        pytest.param(
            "cuda", marks=[pytest.mark.cuda, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")]
        ),
    ]
)
def device(request: pytest.FixtureRequest) -> torch.device:
    return torch.device(request.param)


def train(place: Path, device: torch.device, name: str, *changes: str) -> Path:
    """A run of that name, trained unless another test has."""
    where = [f"run.name={name}-{device.type}", f"run.device={device}"]
    run = place / "runs" / f"{name}-{device.type}"
    if not run.exists():
        done = minigpt("train", RECIPE, *TINY, *where, *changes, cwd=place)
        assert done.returncode == 0, done.stderr
    return run


def metrics(run: Path, key: str = "loss") -> list[float]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line[key] for line in lines if key in line]


def weights(run: Path, step: int) -> dict[str, torch.Tensor]:
    return load_file(run / "checkpoints" / f"step-{step:08d}" / "model.safetensors")


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")  # torch's own
@pytest.mark.parametrize(
    ("precision", "compiled"),
    [("float32", "false"), ("bfloat16", "false"), ("float16", "false"), ("bfloat16", "true")],
)
def test_training_has_the_losses_of_the_cpu(
    precision: str, compiled: str, device: torch.device, workplace: Path, run: Path
) -> None:
    settings = [f"run.precision={precision}", f"run.compile={compiled}"]
    trained = train(workplace, device, f"{precision}-{compiled}", *settings)
    for key in ("loss", "validation_loss"):
        assert metrics(trained, key) == pytest.approx(metrics(run, key), rel=TOLERANCE[precision])
    if compiled == "true":
        assert "compile: true" in (trained / "config.yaml").read_text(), "the compiler must have worked"


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_a_run_goes_on_where_it_stopped(precision: str, device: torch.device, workplace: Path, run: Path) -> None:
    settings = ["schedule.cooldown_fraction=0", f"run.precision={precision}"]
    whole = train(workplace, device, f"whole-{precision}", *settings)
    parted = train(workplace, device, f"parted-{precision}", *settings, "training.max_steps=6")
    assert minigpt("train", "--resume", parted, "training.max_steps=12", cwd=workplace).returncode == 0
    assert metrics(parted) == pytest.approx(metrics(whole), rel=1e-4)
    for name, expected in weights(whole, 12).items():
        torch.testing.assert_close(weights(parted, 12)[name], expected, rtol=1e-2, atol=1e-3, msg=name)


def test_a_loss_that_is_scaled_out_of_float16_loses_no_step(device: torch.device, workplace: Path, run: Path) -> None:
    settings = ["schedule.cooldown_fraction=0", "run.precision=float16"]
    whole = train(workplace, device, "whole-float16", *settings)
    trained = train(workplace, device, "overflow", *settings, "training.max_steps=6")
    checkpoint = trained / "checkpoints/step-00000006"
    state, metadata = torch.load(checkpoint / STATE, weights_only=True), read_sealed(checkpoint / METADATA, dict)
    state["progress"]["loss_scale"] = 2.0**40
    torch.save(state, checkpoint / STATE)
    metadata["files"][STATE] = file_checksum(checkpoint / STATE)
    (checkpoint / METADATA).write_bytes(sealed(metadata))
    assert minigpt("train", "--resume", trained, "training.max_steps=12", cwd=workplace).returncode == 0
    assert metrics(trained) == pytest.approx(metrics(whole), rel=1e-3)
    state = torch.load(trained / "checkpoints/step-00000012/training_state.pt", weights_only=True)
    assert 1 < state["progress"]["loss_scale"] < 2**40


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("vocab_size", [1000, 1024])
def test_the_loss_in_chunks_is_that_of_all_logits(
    precision: str, vocab_size: int, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "logits_at_once", lambda _: 64 * vocab_size)
    model = random_model(vocab_size=vocab_size, context_length=64, n_layers=1)
    inputs, targets = torch.randint(vocab_size, (2, 3, 64), generator=torch.Generator().manual_seed(0))
    expected = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())
    expected.backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    model.zero_grad()
    model.to(device)
    loss = TrainingLoss(model, getattr(torch, precision), compiled=False)(inputs.to(device), targets.to(device))
    (loss * 1024).backward()
    assert loss.item() == pytest.approx(expected.item(), rel=TOLERANCE[precision])
    for name, parameter in model.named_parameters():
        error = (parameter.grad.cpu() / 1024 - gradients[name]).norm() / gradients[name].norm()
        assert error < TOLERANCE[precision], name


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_muon_makes_updates_orthogonal(dtype: torch.dtype, device: torch.device) -> None:
    matrices = 1e-6 * torch.randn(3, 16, 40, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrices.to(device), 5, dtype).float().cpu())
    assert torch.all((values > 0.6) & (values < 1.25))


def test_muon_moves_weights_as_on_the_cpu(device: torch.device) -> None:
    moved = []
    for place in (CPU, device):
        generator = torch.Generator().manual_seed(0)
        parameters = [torch.nn.Parameter(torch.randn(8, 4, generator=generator).to(place)) for _ in range(3)]
        muon = Muon([{"params": parameters, "lr": 0.1}], 0.9, 0.95, 0.01, 5, 2, torch.float32)
        for _ in range(4):
            for parameter in parameters:
                parameter.grad = torch.randn(8, 4, generator=generator).to(place)
            muon.step()
        moved.append([parameter.detach().cpu() for parameter in parameters])
    torch.testing.assert_close(*moved, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_model_packed_for_inference_has_the_logits_of_the_cpu(precision: str, device: torch.device) -> None:
    settings = SamplingConfig(temperature=0, max_new_tokens=8)
    with torch.no_grad():
        expected = random_model()(TOKENS)[:, -1]
    packed = pack(random_model().to(device), getattr(torch, precision))
    first = next(generate(packed, TOKENS[:, :15], settings, end_of_text=-1, seed=0))
    steps = list(generate(packed, TOKENS, settings, end_of_text=-1, seed=0))
    assert len(steps) == 8
    assert first.logits.shape == expected.shape
    assert (steps[0].logits - expected).norm() / expected.norm() < TOLERANCE[precision]


@pytest.mark.parametrize("position", ["rope", "learned"])
@pytest.mark.parametrize("n_texts", [1, 3])
def test_recorded_steps_write_what_called_ones_write(position: str, n_texts: int, device: torch.device) -> None:
    settings = SamplingConfig(temperature=1, max_new_tokens=40)  # twice beyond the context
    packed = with_packed_blocks(random_model(position=position), torch.float32)
    recorded = RecordedGPT(with_packed_blocks(random_model(position=position).to(device), torch.float32))
    for prompt in TOKENS[0, :3], TOKENS[0, :1]:
        expected, found = (
            list(generate(model, prompt, settings, end_of_text=-1, seed=0, n_samples=n_texts))
            for model in (packed, recorded)
        )
        for a, b in zip(expected, found, strict=True):
            assert b.token_ids.tolist() == a.token_ids.tolist()
            torch.testing.assert_close(b.logits, a.logits, rtol=1e-3, atol=1e-4)


def test_all_commands_work_on_a_run_of_the_device(device: torch.device, workplace: Path, run: Path) -> None:
    trained = train(workplace, device, "commands")

    def answer(command: str, *words: object) -> Any:
        done = minigpt(command, trained, *words, cwd=workplace)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if "--json" in words else done.stdout

    losses = [answer("evaluate", "--json", "--device", place)["loss"] for place in ("cpu", device)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    texts = [answer("sample", "--json", "--device", place, "--temperature", 0)["samples"] for place in ("cpu", device)]
    assert texts[0] == texts[1]
    page = workplace / f"{device.type}.html"
    answer("explain", "--output", page, "--no-open", "--prompt", "Alice gave Bob")
    assert page.stat().st_size > 10_000


def test_the_view_inside_has_the_numbers_of_the_cpu(device: torch.device) -> None:
    model = random_model()
    expected, found = (trace(model.to(place), TOKENS[0].tolist()) for place in (CPU, device))
    np.testing.assert_allclose(found.logits, expected.logits, rtol=1e-3, atol=1e-4)


def test_claims_are_measured_on_the_device(device: torch.device, workplace: Path, run: Path) -> None:
    done = minigpt("evaluate", run, "--claims", "--device", device, cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert "chance" in done.stdout


def test_the_plan_of_a_recipe_is_made_on_the_device(device: torch.device, workplace: Path) -> None:
    done: subprocess.CompletedProcess[str] = minigpt("config", RECIPE, *TINY, f"run.device={device}", cwd=workplace)
    assert done.returncode == 0, done.stderr
    assert "s per step" in done.stdout


def test_auto_chooses_sizes_for_the_device(device: torch.device, workplace: Path) -> None:
    (workplace / "mine.txt").write_text("The quick brown fox jumps over the lazy dog.\n" * 2000)
    wishes = ["data.source=mine.txt", "training.max_minutes=0.1", f"run.device={device}"]
    done = minigpt("config", RECIPE.with_name("auto.yaml"), *wishes, "--json", cwd=workplace)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["config"]["model"]["n_layers"] > 0
    assert 0 < told["plan"]["bits_per_byte"] < 2
