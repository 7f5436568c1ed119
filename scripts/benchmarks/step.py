"""`benchmark.py step`: the utilisation of a training step."""

import time
from statistics import median
from typing import Any

from benchmarks.workbench import (
    CONFIGS,
    ChangesArgument,
    JsonOption,
    RecipeArgument,
    RepeatsOption,
    cpu_engine,
    make_trainer,
    read_recipe,
    report,
)


def step(
    recipe: RecipeArgument = CONFIGS / "tinystories.yaml",
    changes: ChangesArgument = None,
    repeats: RepeatsOption = 30,
    as_json: JsonOption = False,
) -> None:
    """A compiled training step in steady state beside what the rate of matmuls allows; its parts."""
    import torch

    from minigpt.experiments.throughput import training_flops
    from minigpt.hardware.precision import matmul_rate

    engine = cpu_engine()
    config, shape = read_recipe(recipe, changes)
    model, optimizers, loss, tokens, compiled = make_trainer(config, shape, engine)
    document: dict[str, Any] = {"compiled": compiled}
    muon = ["muon"] if config.optimizer.name == "muon" else []
    seconds: dict[str, list[float]] = {key: [] for key in ("forward", "backward", "clipping", *muon, "adamw")}
    rates = []
    for turn in range(repeats + 3):
        rate = matmul_rate(engine.device, engine.dtype)
        clock = [time.perf_counter()]
        with engine.autocast():
            nats = loss(tokens, tokens)
        clock.append(time.perf_counter())
        nats.backward()
        clock.append(time.perf_counter())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        clock.append(time.perf_counter())
        for optimizer in optimizers.optimizers:
            optimizer.step()
            clock.append(time.perf_counter())
            optimizer.zero_grad()
        if turn >= 3:  # the first ones warm up
            rates.append(rate)
            for part, begin, end in zip(seconds, clock, clock[1:], strict=False):
                seconds[part].append(end - begin)
    parts = {part: median(taken) for part, taken in seconds.items() if taken}
    whole, flops = median(map(sum, zip(*filter(None, seconds.values()), strict=True))), training_flops(shape, model)
    attention = 6 * shape.n_layers * shape.n_heads * shape.d_head * shape.context_length
    document |= {
        "seconds": whole,
        "tokens_per_second": tokens.numel() / whole,
        "matmul_flops_per_second": median(rates),
        "utilisation": flops * tokens.numel() / whole / median(rates),
        "utilisation_target": 0.55,
        "utilisation_without_masked_half": (flops - attention) * tokens.numel() / whole / median(rates),
        "parts": parts,
        "muon_share": parts["muon"] / whole if config.optimizer.name == "muon" else None,
        "muon_share_target": 0.08,
    }
    rows = [[part, f"{1e3 * taken:.1f}", f"{taken / whole:.1%}"] for part, taken in parts.items()]
    rows.append(["step", f"{1e3 * whole:.1f}", ""])
    last = (
        f"{document['tokens_per_second']:,.0f} tokens/s; {document['utilisation']:.1%} of the "
        f"{median(rates) / 1e9:.0f} GFLOP/s of matmuls ({document['utilisation_without_masked_half']:.1%} "
        "if the masked half of attention is not counted)"
    )
    report(document, ["part", "milliseconds", "share"], rows, last, as_json)
