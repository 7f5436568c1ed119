"""llama.cpp with the same weights, as GGUF files; node-llama-cpp brings it along, ready to run."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from functools import partial
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import typer

MODULES = Path(os.environ.get("MINIGPT_NODE_MODULES") or Path.home() / ".cache" / "minigpt" / "node_modules")
DTYPES = ("f16", "q8_0")
PROMPT = [1] * 8


def llama_cpp(model: Any, folder: Path) -> dict[str, Callable[[int, int], float]]:
    """By name, what measures llama.cpp's tokens per second for so many texts of so many new tokens each.

    With one thread and with all: where Node's own takes a core's turn, the others spin in vain for as long.
    """
    import torch

    paths = {dtype: _export(model, folder / f"{dtype}.gguf", dtype) for dtype in DTYPES}
    return {
        f"llama.cpp {dtype}, threads: {threads}": partial(_measure, path, threads)
        for dtype, path in paths.items()
        for threads in sorted({1, torch.get_num_threads()})
    }


def about() -> str:
    """Which llama.cpp it is, and how long a step takes of a model that has next to nothing to compute."""
    from minigpt.config.hyperparameters import ModelConfig
    from minigpt.model.gpt import GPT

    model = GPT(ModelConfig(n_layers=1, n_heads=1, d_model=32, vocab_size=40, context_length=256))
    model.initialise(0)
    with TemporaryDirectory() as folder:
        answer = _ask(_export(model, Path(folder) / "small.gguf", "f16"), 1, 1, 200)
    return (
        f"llama.cpp {answer['release']} by node-llama-cpp, which takes {1000 / answer['rate']:.2f} ms a step for itself"
    )


def _export(model: Any, path: Path, dtype: str) -> Path:
    """Write a model with a tokenizer of as many characters; what that warns of does not matter here."""
    from minigpt.config.hyperparameters import Config
    from minigpt.interop.gguf import export_gguf
    from minigpt.runs import Run, RunFolder
    from minigpt.tokenizers.character import CharacterTokenizer

    alphabet = "".join(map(chr, range(0x10000, 0x10000 + model.config.vocab_size - 1)))
    config = Config.model_validate({"model": model.config, "data": {"source": None}})
    with redirect_stderr(StringIO()):
        export_gguf(Run(RunFolder(path.parent), config, CharacterTokenizer(alphabet), model, 0), path, dtype)
    return path


def _measure(path: Path, threads: int, n_samples: int, new_tokens: int) -> float:
    return float(_ask(path, threads, n_samples, new_tokens)["rate"])


def _ask(path: Path, threads: int, n_samples: int, new_tokens: int) -> dict[str, Any]:
    """Throughput and release; where llama.cpp is not there, say how to get it and end."""
    node = shutil.which("node")
    if node is None or not (MODULES / "node-llama-cpp").is_dir():
        remedy = f"install Node.js and: npm install --ignore-scripts --prefix {MODULES.parent} node-llama-cpp"
        print(f"error: {MODULES}: llama.cpp is not there; {remedy}", file=sys.stderr)
        raise typer.Exit(2)
    request = {
        "modules": str(MODULES), "model": str(path), "prompt": PROMPT, "sequences": n_samples, "steps": new_tokens,
        "threads": threads,
    }  # fmt: skip
    script = Path(__file__).with_suffix(".mjs")
    done = subprocess.run([node, script], input=json.dumps(request), capture_output=True, text=True)
    if done.returncode:
        print(done.stderr.strip(), file=sys.stderr)
        raise typer.Exit(done.returncode)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
