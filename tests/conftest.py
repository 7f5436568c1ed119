"""A tiny run that many tests look at, trained once.

No test asks how long something took. What has to be waited for is waited for, until pytest's own limit
(faulthandler_timeout in pyproject.toml) or, in a page, a minute (browser.py) ends a test that hangs.
"""

import contextlib
import gc
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from minigpt import cli

if TYPE_CHECKING:
    from minigpt.model.gpt import GPT

os.environ["HF_HUB_OFFLINE"] = "1"
# One thread, here and in the processes that some tests start: the same numbers, bit for bit, and as many tests run at
# once as there are cores.
os.environ["OMP_NUM_THREADS"] = "1"
with contextlib.suppress(ModuleNotFoundError):  # a machine with a GPU may have only what tests/hardware needs
    import hypothesis

    hypothesis.settings.register_profile(
        "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
    )
    hypothesis.settings.load_profile("any machine")

TINY = [
    "data.n_stories=400",
    "tokenizer.vocab_size=1024",
    "model.context_length=32",
    "model.n_layers=2",
    "model.n_heads=2",
    "model.d_model=32",
    "training.batch_size=4",
    "training.max_minutes=null",
    "training.max_steps=12",
    "training.evaluate_every=6",
    "training.checkpoint_every=3",
    "training.keep_checkpoints=3",
    "training.evaluation_tokens=500",
    "sampling.max_new_tokens=10",
    "run.precision=float32",
    "run.compile=false",
]
NODE_MODULES = Path(os.environ.get("MINIGPT_NODE_MODULES") or Path.home() / ".cache" / "minigpt" / "node_modules")
"""Where npm has put llama.cpp and axe-core, if it has."""
RECIPE = Path(__file__).parents[1] / "configs" / "stories.yaml"


SHAPE: dict[str, Any] = {"vocab_size": 50, "context_length": 16, "n_layers": 2, "n_heads": 4, "d_model": 32}

ARCHITECTURES = [
    dict(
        zip(
            ("position", "norm", "feed_forward", "qk_norm", "bias", "tie_embeddings", "n_kv_heads"), values, strict=True
        )
    )
    for values in product(
        ("rope", "learned"),
        ("rmsnorm", "layernorm"),
        ("swiglu", "gelu"),
        (True, False),
        (True, False),
        (True, False),
        (4, 2),
    )
]
"""Every combination of the options that change what a block computes."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is imported stays: the garbage collector need not look through it, again and again.

    The compiler's cache has its name before any test's imports have torch name it.
    """
    from minigpt.hardware.compiler import name_cache

    name_cache()
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _quick_measurements() -> None:
    """What is measured matters here, not how exactly. (torch is imported where tests run, not where they are dealt.)"""
    import torch

    from minigpt.evaluation import claims
    from minigpt.experiments import forecast, plan

    torch.set_num_threads(1)
    plan.MEASURED_SECONDS, forecast.OPERATIONS = 0.2, 1e10
    claims.N_CASES, claims.N_TRACKED = 50, 25


def random_model(**changes: Any) -> "GPT":
    """A model of `SHAPE`, changed, whose weights are random everywhere, also where a fresh one has zeros."""
    import torch

    from minigpt.config.hyperparameters import ModelConfig
    from minigpt.model.gpt import GPT

    model = GPT(ModelConfig(**{**SHAPE, **changes})).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.1, 0.2, generator=generator)
    return model


def minigpt(*arguments: object, cwd: Path, stdin: str | bytes = "") -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does, in this process: importing torch anew each time would take minutes."""
    words = list(map(str, arguments))
    content = stdin.encode() if isinstance(stdin, str) else stdin
    output, errors = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(output),
        contextlib.redirect_stderr(errors),
    ):
        patch.setattr(sys, "argv", ["minigpt", *words])
        patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), encoding="utf-8"))
        try:
            cli.main()
        except SystemExit as end:
            return subprocess.CompletedProcess(words, int(end.code or 0), output.getvalue(), errors.getvalue())
        finally:
            gc.enable()
    raise AssertionError("the command line ends with an exit status")


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which commands are run: prepared data is shared."""
    return tmp_path_factory.mktemp("workplace")


@pytest.fixture(scope="session")
def run(workplace: Path) -> Path:
    """The folder of a finished tiny run."""
    done = minigpt("train", RECIPE, "run.name=tiny", *TINY, cwd=workplace)
    assert done.returncode == 0, done.stderr
    return workplace / "runs" / "tiny"


@pytest.fixture
def two_runs(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a test's own with two such runs and their prepared data, in which it is."""
    place = tmp_path / "here"
    for name in ("tiny", "other"):
        shutil.copytree(run, place / "runs" / name)
    shutil.copytree(run.parents[1] / "data", place / "data")
    monkeypatch.chdir(place)
    return place
