"""`benchmark.py sample`: the throughput of inference."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Annotated, Any, Literal

import typer

from benchmarks.llama import about, llama_cpp
from benchmarks.workbench import JsonOption, RepeatsOption, cpu_engine, report

SHAPES = {
    "4 layers x 128": {"n_layers": 4, "n_heads": 4, "d_model": 128, "vocab_size": 65, "context_length": 256},
    "6 layers x 384": {"n_layers": 6, "n_heads": 6, "d_model": 384, "vocab_size": 65, "context_length": 256},
    "124M parameters": {
        "n_layers": 12, "n_heads": 12, "d_model": 768, "d_ff": 2048, "vocab_size": 50_257, "context_length": 1024,
    },
}  # fmt: skip
TARGETS = {"4 layers x 128": None, "6 layers x 384": 5, "124M parameters": 3}
SEQUENCES = 16


def sample(
    repeats: RepeatsOption = 5,
    new_tokens: Annotated[int, typer.Option(min=2, help="Tokens that each text gets.")] = 100,
    as_json: JsonOption = False,
    beside: Annotated[Literal["transformers", "llama.cpp"], typer.Option(help="Who else writes.")] = "transformers",
) -> None:
    """Tokens per second beside Transformers' generate or llama.cpp, on the same weights; one text and sixteen."""
    from minigpt.config.hyperparameters import ModelConfig
    from minigpt.inference.arrays import ArrayGPT
    from minigpt.inference.native import Int8GPT
    from minigpt.inference.packed import inference_dtype, pack
    from minigpt.model.gpt import GPT

    bandwidth, engine = _memory_bandwidth(), cpu_engine()
    rows: list[dict[str, Any]] = []
    last = f"memory is read at {bandwidth / 1e9:.1f} GB/s"
    last += f"; {about()}" if beside == "llama.cpp" else ""
    for name, shape in SHAPES.items():
        model = GPT(ModelConfig(**shape)).eval()
        model.initialise(0)
        dtype = inference_dtype(model.config, None, engine.dtype, engine.device)
        packed = pack(model, dtype)
        assert isinstance(packed, ArrayGPT | Int8GPT)
        with TemporaryDirectory() as folder:
            others = llama_cpp(model, Path(folder)) if beside == "llama.cpp" else transformers(model)
            rates = _in_turns({"minigpt": partial(throughput, packed), **others}, repeats, new_tokens)
        for n_samples in (1, SEQUENCES):
            rate = rates["minigpt", n_samples]
            rows.append(
                {
                    "name": name + ("" if n_samples == 1 else f", {n_samples} texts at once"),
                    "weights": str(dtype).removeprefix("torch."),
                    "tokens_per_second": {who: rates[who, n_samples] for who in ("minigpt", *others)},
                    "speedup": rate / max(rates[who, n_samples] for who in others),
                    "target": TARGETS[name] if n_samples == 1 and beside == "transformers" else None,
                    "fraction_of_limit": rate / n_samples * packed.n_bytes / bandwidth,
                }
            )
            if n_samples > 1:
                rows[-1]["times_one_text"] = rate / rates["minigpt", 1]
                rows[-1]["target_times_one_text"] = 8
    document = {"memory_gigabytes_per_second": bandwidth / 1e9, "rows": rows}
    table = [
        [
            row["name"],
            *(f"{rate:,.0f}" for rate in row["tokens_per_second"].values()),
            f"{row['speedup']:.1f}",
            f"{row['times_one_text']:.1f}" if "times_one_text" in row else "",
            f"{row['fraction_of_limit']:.0%}",
        ]
        for row in rows
    ]
    head = ["tokens/s", *rows[0]["tokens_per_second"], "speedup", "times one text", "of the limit"]
    report(document, head, table, last, as_json)


def _in_turns(
    sides: dict[str, Callable[[int, int], float]], repeats: int, new_tokens: int
) -> dict[tuple[str, int], float]:
    """The median throughput of each side, for one text and for sixteen."""
    rates: dict[tuple[str, int], list[float]] = {(who, n): [] for who in sides for n in (1, SEQUENCES)}
    for turn in range(repeats + 1):
        for n_samples in (1, SEQUENCES):
            for who, measure in sides.items():
                rate = measure(n_samples, new_tokens)
                rates[who, n_samples] += [rate] if turn else []  # the first warms up
    return {side: median(measured) for side, measured in rates.items()}


def throughput(model: Any, n_samples: int, new_tokens: int) -> float:
    """Tokens per second of minigpt, most probable token each time, out of a prompt of 8 tokens."""
    from minigpt.config.hyperparameters import SamplingConfig
    from minigpt.generation.generate import generate

    settings = SamplingConfig(temperature=0, max_new_tokens=new_tokens)
    begin = time.perf_counter()
    steps = sum(1 for _ in generate(model, [1] * 8, settings, end_of_text=-1, seed=0, n_samples=n_samples))
    return n_samples * steps / (time.perf_counter() - begin)


def transformers(model: Any) -> dict[str, Callable[[int, int], float]]:
    """What measures Transformers with the same weights."""
    from minigpt.interop.huggingface import to_transformers

    return {"transformers": partial(_throughput_of_transformers, to_transformers(model))}


def _throughput_of_transformers(model: Any, n_samples: int, new_tokens: int) -> float:
    import torch

    prompt = torch.ones(n_samples, 8, dtype=torch.long)
    begin = time.perf_counter()
    with torch.inference_mode():
        texts = model.generate(
            prompt, attention_mask=torch.ones_like(prompt), do_sample=False, min_new_tokens=new_tokens,
            max_new_tokens=new_tokens, pad_token_id=0,
        )  # fmt: skip
    return n_samples * (texts.shape[1] - 8) / (time.perf_counter() - begin)


def _memory_bandwidth() -> float:
    """Bytes per second at which all cores read a matrix that no cache holds, looking for its largest number."""
    import torch

    matrix = torch.ones(8192, 16_384)
    seconds = []
    for _ in range(8):
        begin = time.perf_counter()
        matrix.amax()
        seconds.append(time.perf_counter() - begin)
    return matrix.nbytes / min(seconds)
