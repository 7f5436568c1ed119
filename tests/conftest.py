"""A tiny run that many tests look at, trained once."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TINY = [
    "data.n_stories=400",
    "tokenizer.vocab_size=512",
    "model.context_length=32",
    "model.n_layers=2",
    "model.n_heads=2",
    "model.d_model=32",
    "training.batch_size=4",
    "training.max_minutes=null",
    "training.max_steps=12",
    "training.evaluate_every=6",
    "training.checkpoint_every=3",
    "training.evaluation_tokens=500",
    "sampling.max_new_tokens=10",
    "run.precision=float32",
    "run.compile=false",
]
RECIPE = Path(__file__).parents[1] / "configs" / "stories.yaml"


def minigpt(*arguments: object, cwd: Path, stdin: str = "", timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does."""
    return subprocess.run(
        [sys.executable, "-m", "minigpt", *map(str, arguments)],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONUTF8": "1"},
        check=False,
    )


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
