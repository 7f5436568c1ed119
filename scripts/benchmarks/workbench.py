"""What the benchmarks share: options, a recipe's model, a process's memory, the report."""

import json
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

CONFIGS = Path(__file__).parents[2] / "configs"
MEGABYTE = 10**6
T = TypeVar("T")

TextOption = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="A text file (UTF-8).")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
RecipeArgument = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A recipe (YAML).")]
ChangesArgument = Annotated[list[str] | None, typer.Argument(help="Changes to it: key=value.")]
RepeatsOption = Annotated[int, typer.Option(min=1, help="Times that each side is measured.")]


def run_minigpt(*words: object) -> None:
    """Run a command of minigpt; where it fails, say what it said and end."""
    done = subprocess.run([sys.executable, "-m", "minigpt", *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        print(done.stderr.strip().splitlines()[-1], file=sys.stderr)
        raise typer.Exit(done.returncode)


def cpu_engine() -> Any:
    """The CPU, with the precision that is faster on it."""
    import torch

    from minigpt.hardware.device import Engine
    from minigpt.hardware.precision import choose_precision

    device = torch.device("cpu")
    return Engine(device, choose_precision("auto", device))


def in_new_process(work: Callable[..., T], *arguments: object, imports: str) -> T:
    """What `work` gives in a process of its own, which has imported a module; imports are not what is measured."""
    context = get_context("forkserver")
    context.set_forkserver_preload([imports])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(work, *arguments).result()


def peak_megabytes() -> float:
    """Of this process, so far."""
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEGABYTE


def read_recipe(path: Path, changes: list[str] | None) -> tuple[Any, Any]:
    """The config, and the model's with a size of vocabulary."""
    from minigpt.config.recipe import check_chosen, load_recipe
    from minigpt.experiments.plan import expected_vocab_size

    config = load_recipe(path, changes or [])
    check_chosen(config, path)
    return config, config.model.model_copy(update={"vocab_size": expected_vocab_size(config)})


def make_trainer(config: Any, shape: Any, engine: Any) -> tuple[Any, Any, Any, Any, bool]:
    """A model, its optimizers, its loss, a batch of tokens, and whether they are compiled, as the recipe wishes."""
    import torch

    from minigpt.hardware.compiler import Compiler
    from minigpt.model.gpt import GPT
    from minigpt.optimizers import make_optimizers
    from minigpt.training.loss import TrainingLoss

    model = GPT(shape).train()
    model.initialise(0)
    model.to(engine.device)
    compiler = Compiler(shape, config.training.batch_size, engine) if config.run.compile is not False else None
    compiled = compiler is not None and compiler.compile(model, partial(print, file=sys.stderr))
    loss = TrainingLoss(model, engine.dtype, compiled)
    tokens = torch.randint(shape.vocab_size, (config.training.batch_size, shape.context_length))
    tokens = tokens.to(engine.device)
    return model, make_optimizers(model, config, engine.dtype), loss, tokens, compiled


def report(document: dict[str, Any], head: list[str], rows: list[list[str]], last: str, as_json: bool) -> None:
    """Print the JSON document, or a Markdown table and a last line."""
    if as_json:
        print(json.dumps(document, indent=1))
        return
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print(f"\n{last}")
