"""`benchmark.py memory`: peak memory of training."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.workbench import (
    CONFIGS,
    MEGABYTE,
    ChangesArgument,
    JsonOption,
    RecipeArgument,
    cpu_engine,
    in_new_process,
    make_trainer,
    peak_megabytes,
    read_recipe,
    report,
)


def memory(
    recipe: RecipeArgument = CONFIGS / "tinystories.yaml",
    changes: ChangesArgument = None,
    vocab_size: Annotated[int, typer.Option(min=2, help="Tokens of the vocabulary.")] = 32_000,
    as_json: JsonOption = False,
) -> None:
    """Peak memory of training, not compiled, beside that of the same model with the logits of a whole batch at once."""
    from minigpt.hardware.memory import memory_by_use
    from minigpt.model.gpt import GPT

    changes = [*(changes or []), f"model.vocab_size={vocab_size}", "run.compile=false"]
    config, shape = read_recipe(recipe, changes)
    peaks = {
        side: in_new_process(_peak_of_training, recipe, changes, at_once, imports="minigpt.training.run")
        for side, at_once in (("minigpt", False), ("all logits at once", True))
    }
    n_rows = config.training.batch_size
    expected = memory_by_use(config, shape, GPT(shape).n_parameters(), n_rows, cpu_engine().device)
    document = {"vocab_size": vocab_size, "peak_megabytes": peaks, "expected_bytes": expected}
    rows = [[side, f"{peak:,.0f}"] for side, peak in peaks.items()]
    last = "expected: " + ", ".join(f"{name} {size / MEGABYTE:,.0f} MB" for name, size in expected.items())
    report(document, [f"vocabulary of {vocab_size:,}", "peak MB beyond the imports"], rows, last, as_json)


def _peak_of_training(recipe: Path, changes: list[str], at_once: bool) -> float:
    import torch

    engine = cpu_engine()
    config, shape = read_recipe(recipe, changes)
    before = peak_megabytes()
    model, optimizers, loss, tokens, _ = make_trainer(config, shape, engine)
    for _ in range(2):
        with engine.autocast():
            if at_once:
                nats = torch.nn.functional.cross_entropy(model(tokens).flatten(0, 1).float(), tokens.flatten())
            else:
                nats = loss(tokens, tokens)
        nats.backward()
        optimizers.step(1.0)
    return peak_megabytes() - before
