"""`benchmark.py gpu`: utilisation, time to a loss, and throughput of inference on a GPU."""

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer

from benchmarks import sample
from benchmarks.train import time_to_loss
from benchmarks.workbench import CONFIGS, ChangesArgument, JsonOption, TextOption, make_trainer, read_recipe, report

LOSS = 1.470
"""Of Tiny Shakespeare, in nats per character."""
SHAKESPEARE = [
    *("run.compile=false", "training.batch_size=32", "training.evaluate_every=100"),
    *("model.n_layers=4", "model.d_model=256", "model.reference_width=256", "model.dropout=0.1"),
    "optimizer.adamw_learning_rate=0.003",
]
"""An uncompiled step takes as long with many rows, and of a wide model, as with few of a narrow one."""
PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "V100": 125e12, "T4": 65e12}
"""Operations per second of dense matmuls in 16 bits, by the makers' data sheets."""


def gpu(
    changes: ChangesArgument = None,
    text: TextOption = None,
    device: Annotated[str, typer.Option(help="The device, as run.device names it.")] = "cuda",
    steps: Annotated[int, typer.Option(min=1, help="Training steps to measure.")] = 6,
    shakespeare_steps: Annotated[int, typer.Option(min=1, help="Steps on Tiny Shakespeare, at most.")] = 900,
    as_json: JsonOption = False,
) -> None:
    """Training of configs/gpt2_small.yaml on made-up tokens, with changes; Tiny Shakespeare to a loss; inference."""
    from minigpt.hardware.device import Engine, choose_device
    from minigpt.hardware.precision import choose_precision

    place = choose_device(device)
    engine = Engine(place, choose_precision("auto", place))
    document: dict[str, Any] = {"device": engine.describe(), "training": _training(engine, changes, steps)}
    document["shakespeare"] = _shakespeare(text, device, shakespeare_steps)
    document["inference"] = {name: _inference(engine, shape) for name, shape in sample.SHAPES.items()}
    training, shakespeare = document["training"], document["shakespeare"]
    rows = [["training, tokens/s", f"{training['tokens_per_second']:,.0f}"]]
    rows += [[f"  of the {kind} matmul rate", f"{share:.1%}"] for kind, share in training["utilisation"].items()]
    rows += [["Tiny Shakespeare, seconds", f"{shakespeare['seconds']:.1f} to a loss of {shakespeare['loss']:.4f}"]]
    rows += [
        [f"inference, {name}, tokens/s", f"{rates['one']:,.0f}; {rates['many']:,.0f} in {sample.SEQUENCES} texts"]
        for name, rates in document["inference"].items()
    ]
    last = f"targets: utilisation 45%, {LOSS} in 20 s"
    report(document, [document["device"], ""], rows, last, as_json)


def _training(engine: Any, changes: list[str] | None, n_steps: int) -> dict[str, Any]:
    """Whole steps in steady state: all micro-batches, clipping and the update."""
    import torch

    from minigpt.experiments.throughput import training_flops
    from minigpt.hardware.device import synchronise

    config, shape = read_recipe(CONFIGS / "gpt2_small.yaml", changes)
    model, optimizers, loss, tokens, compiled = make_trainer(config, shape, engine)
    seconds = []
    for _ in range(n_steps + 3):
        begin = time.perf_counter()
        for _ in range(config.training.gradient_accumulation_steps):
            with engine.autocast():
                nats = loss(tokens, tokens)
            nats.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizers.step(1.0)
        synchronise(engine.device)
        seconds.append(time.perf_counter() - begin)
    rate = config.training.gradient_accumulation_steps * tokens.numel() / median(seconds[3:])  # the first warm up
    rates = {"measured": _matmul_rate(engine)}
    if nominal := [peak for gpu, peak in PEAKS.items() if gpu in engine.describe()]:
        rates["nominal"] = nominal[0]
    utilisation = {kind: training_flops(shape, model) * rate / peak for kind, peak in rates.items()}
    return {"compiled": compiled, "tokens_per_second": rate, "matmul_rates": rates, "utilisation": utilisation}


def _matmul_rate(engine: Any) -> float:
    """Multiply-adds, counted as two, per second in a matmul that fills a GPU."""
    import torch

    from minigpt.hardware.device import synchronise

    size = 8192 if engine.device.type == "cuda" else 512
    a, b = torch.randn(2, size, size, device=engine.device).to(engine.dtype)
    seconds = []
    for _ in range(10):
        begin = time.perf_counter()
        a @ b
        synchronise(engine.device)
        seconds.append(time.perf_counter() - begin)
    return 2 * size**3 / median(seconds)


def _shakespeare(text: Path | None, device: str, n_steps: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as place:
        changes = [*SHAKESPEARE, "training.max_minutes=null", f"training.max_steps={n_steps}", f"run.device={device}"]
        changes += [f"data.directory={place}/data", f"run.directory={place}/run"]
        changes += [f"data.source={text.absolute()}"] if text else []
        return time_to_loss(CONFIGS / "shakespeare.yaml", Path(place) / "run", changes, LOSS)


def _inference(engine: Any, shape: dict[str, int]) -> dict[str, float]:
    """Throughput of one text and of many, after a warm-up."""
    from minigpt.config.hyperparameters import ModelConfig
    from minigpt.inference.packed import inference_dtype, pack
    from minigpt.model.gpt import GPT

    model = GPT(ModelConfig(**shape)).eval()
    model.initialise(0)
    dtype = inference_dtype(model.config, None, engine.dtype, engine.device)
    packed = pack(model.to(engine.device), dtype)
    sample.throughput(packed, 1, 8)
    return {"one": sample.throughput(packed, 1, 100), "many": sample.throughput(packed, sample.SEQUENCES, 100)}
