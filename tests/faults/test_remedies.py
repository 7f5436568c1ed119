"""What an error advises is done to the letter, and gets the person on."""

import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import RECIPE, TINY, minigpt
from safetensors.torch import load_file, save_file

from minigpt.runs import METADATA, WEIGHTS
from minigpt.storage.checksums import file_checksum, read_sealed, sealed

Words = list[object]
TRAIN: Words = ["train", RECIPE, *TINY, "data.n_stories=100"]
RESUME: Words = ["train", "--resume", "runs/tiny"]
SAMPLE: Words = ["sample", "runs/tiny", "--max-new-tokens", "3"]


def damage(name: str) -> Callable[[Path], object]:
    """Make a file of the run another."""
    return lambda place: (place / "runs/tiny" / name).write_bytes(b"damaged")


def diverge(place: Path) -> None:
    """Put NaN in the place of the last weights, as a training that diverged could have written it."""
    folder = place / "runs/tiny/checkpoints/step-00000012"
    weights = {name: torch.full_like(tensor, torch.nan) for name, tensor in load_file(folder / WEIGHTS).items()}
    save_file(weights, folder / WEIGHTS)
    metadata = read_sealed(folder / METADATA, dict)
    metadata["files"][WEIGHTS] = file_checksum(folder / WEIGHTS)
    (folder / METADATA).write_bytes(sealed(metadata))


def records(*values: object) -> Callable[[Path], object]:
    """Write them as JSON Lines."""
    lines = "\n".join(json.dumps(value) for value in values)
    return lambda place: (place / "text.jsonl").write_text(lines)


def text(content: str) -> Callable[[Path], object]:
    """Write a text."""
    return lambda place: (place / "text.txt").write_text(content)


def found(pattern: str, error: str) -> str:
    """What stands in the error where the pattern has its group."""
    match = re.search(pattern, error)
    assert match, error
    return match[1]


def typed(pattern: str) -> Callable[[Words, str], list[Words]]:
    """The command in the error."""
    return lambda _, error: [[*shlex.split(found(pattern, error))]]


def more(*words: str) -> Callable[[Words, str], list[Words]]:
    """The same command with more words."""
    return lambda command, _: [[*command, *words]]


def instead(pattern: str, form: str) -> Callable[[Words, str], list[Words]]:
    """The same command with a word of this form, in which what the error names takes its place."""
    return lambda command, error: [[*command, form.format(found(pattern, error))]]


def without(*unwanted: str) -> Callable[[Words, str], list[Words]]:
    """The same command without some words."""
    return lambda command, _: [[word for word in command if word not in unwanted]]


def nothing(_place: Path) -> None:
    """Everything is as it should be but the command."""


OWN = [*TRAIN, "run.name=own", "tokenizer.kind=byte", "data.source=text.txt"]
LINES = [*TRAIN, "run.name=own", "tokenizer.kind=byte", "data.source=text.jsonl", "data.validation_fraction=0.3"]
LONG = "a" * 400
Case = tuple[Callable[[Path], object], Words, Callable[[Words, str], list[Words]]]
CASES: dict[str, Case] = {
    "the run exists: replace": (nothing, [*TRAIN, "run.name=tiny"], more("--overwrite")),
    "the run exists: go on": (
        nothing,
        [*TRAIN, "run.name=tiny"],
        lambda _, error: [
            ["train", *shlex.split(found(r"go on with (--resume \S+),", error)), "training.max_steps=14"]
        ],
    ),
    "the run exists: another name": (nothing, [*TRAIN, "run.name=tiny"], more("run.name=new")),
    "no checkpoint": (
        lambda place: shutil.rmtree(place / "runs/tiny/checkpoints"),
        SAMPLE,
        typed("begin it anew: minigpt (.*)"),
    ),
    "weights damaged": (
        damage("checkpoints/step-00000012/model.safetensors"),
        SAMPLE,
        instead(r"with --checkpoint: (\d+)", "--checkpoint={}"),
    ),
    "state damaged": (
        damage("checkpoints/step-00000012/training_state.pt"),
        RESUME,
        instead(r"with --checkpoint: (\d+)", "--checkpoint={}"),
    ),
    "weights diverged": (
        diverge,
        ["evaluate", "runs/tiny", "--checkpoint", "last"],
        lambda command, error: [[*command[:2], found("take an earlier checkpoint with (--checkpoint)", error), "9"]],
    ),
    "metrics damaged": (
        lambda place: (place / "runs/tiny/metrics.jsonl").write_bytes(b"damaged\n" * 900),
        [*RESUME, "training.max_steps=14"],
        lambda command, error: Path(found("error: (.*metrics.jsonl), ", error)).unlink() or [command],  # type: ignore[func-returns-value]
    ),
    "config edited": (
        lambda place: (place / "runs/tiny/config.yaml").write_text(
            (place / "runs/tiny/config.yaml").read_text().replace("n_heads: 2", "n_heads: 4")
        ),
        SAMPLE,
        lambda command, error: [put_back(error) or command],
    ),
    "another seed": (nothing, [*RESUME, "training.max_steps=14", "run.seed=7"], without("run.seed=7")),
    "another optimizer": (
        nothing,
        [*RESUME, "training.max_steps=14", "optimizer.name=adamw"],
        without("optimizer.name=adamw"),
    ),
    "a misspelt key": (
        nothing,
        ["config", RECIPE, "training.max_stps=5"],
        lambda command, error: [[*command[:2], found("did you mean '([^']+)'", error) + "=5"]],
    ),
    "a misspelt run": (
        nothing,
        ["sample", "runs/tinny", "--max-new-tokens", "3"],
        lambda command, error: [["sample", found("did you mean '([^']+)'", error), *command[2:]]],
    ),
    "a misspelt recipe": (
        lambda place: shutil.copy(RECIPE, place / "mine.yaml"),
        ["config", "mime.yaml"],
        lambda _, error: [["config", found("did you mean '([^']+)'", error)]],
    ),
    "a misspelt text": (
        text(LONG),
        [*OWN[:-1], "data.source=txt.txt"],
        lambda command, error: [[*command[:-1], "data.source=" + found("did you mean '([^']+)'", error)]],
    ),
    "a misspelt tokenizer": (
        nothing,
        ["config", RECIPE, "tokenizer.kind=wrod"],
        lambda command, error: [[*command[:2], "tokenizer.kind=" + found("did you mean '([^']+)'", error)]],
    ),
    "heads that do not divide": (
        nothing,
        ["config", RECIPE, "model.d_model=250", "model.n_heads=4"],
        more("model.d_head=32"),
    ),
    "no end": (
        nothing,
        ["config", RECIPE, "training.max_minutes=null", "training.max_steps=null"],
        instead("set (training.max_steps) or", "{}=5"),
    ),
    "open sizes without minutes": (
        text(LONG),
        [
            "config",
            RECIPE.with_name("auto.yaml"),
            "data.source=text.txt",
            "training.max_minutes=null",
            "training.max_steps=3",
        ],
        instead("set (training.max_minutes),", "{}=0.01"),
    ),
    "too large a model": (
        nothing,
        ["config", RECIPE, "model.d_model=65536", "model.n_layers=99"],
        more("model.d_model=64", "model.n_layers=2"),
    ),
    "text in another column": (
        records({"body": LONG}),
        LINES,
        instead(r"an object with (\w+); set", "data.text_column={}"),
    ),
    "text that is not there": (
        records({"text": LONG}, {"text": None}, {"text": LONG}),
        LINES,
        instead(r"leave such records out with (\S+)", "{}"),
    ),
    "a part to validate on that is too small": (
        text(LONG),
        [*OWN, "data.validation_fraction=0.001"],
        instead(r"a larger (\S+)", "{}=0.2"),
    ),
    "a context longer than the text": (
        text(LONG),
        [*OWN, "model.context_length=4096"],
        more("model.context_length=16"),
    ),
    "a stride longer than the context": (
        nothing,
        ["evaluate", "runs/tiny", "--stride", "99"],
        lambda command, error: [[*command[:-1], found(r"at most the context length, (\d+)", error)]],
    ),
    "a prompt that is too long": (
        nothing,
        ["explain", "runs/tiny", "--prompt", "A cat sat. " * 30, "--no-open"],
        lambda command, error: [
            [*command[:3], "A " * (int(found(r"sees (\d+) at once", error)) // 2 - 2), "--no-open"]
        ],
    ),
    "a prompt twice": (
        text("A cat"),
        [*SAMPLE, "--prompt", "A", "--prompt-file", "text.txt"],
        without("--prompt", "A"),
    ),
    "a text for evaluation that is not there": (
        text(LONG),
        ["evaluate", "runs/tiny", "--text", "txt.txt"],
        lambda command, error: [[*command[:-1], found("did you mean '([^']+)'", error)]],
    ),
    "the claims of another text": (
        lambda place: (text(LONG)(place), minigpt(*OWN, cwd=place)),
        ["evaluate", "runs/own", "--claims"],
        without("--claims"),
    ),
    "a checkpoint that was not kept": (
        nothing,
        [*SAMPLE, "--checkpoint", "7"],
        lambda command, error: [[*command[:-1], found(r"kept \((\d+)", error)]],
    ),
    "one run to compare": (
        nothing,
        ["compare", "runs/tiny", "--no-open"],
        lambda *_: [["compare", "runs/tiny", "runs/other", "--no-open"]],
    ),
    "a seed that is too large": (
        nothing,
        [*SAMPLE, "--seed", 2**64],
        lambda command, error: [[*command[:-1], found(r"(\d{19})\D*$", error)]],
    ),
}


def put_back(error: str) -> None:
    """Do to a run's recipe what the error says."""
    path, key, value, right = re.findall(
        r"error: (\S+): model\.(\w+) = (\w+): its checkpoint has (\w+); put that", error
    )[0]
    Path(path).write_text(Path(path).read_text().replace(f"{key}: {value}", f"{key}: {right}"))


@pytest.fixture(scope="module")
def place(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs."""
    place = tmp_path_factory.mktemp("remedies")
    for name in ("tiny", "other"):
        shutil.copytree(run, place / "runs" / name)
    shutil.copytree(run.parents[1] / "data", place / "data")
    return place


@pytest.mark.parametrize("name", CASES)
def test_the_remedy_works(name: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil, command, remedy = CASES[name]
    here = tmp_path / "here"
    shutil.copytree(place, here)
    monkeypatch.chdir(here)
    spoil(here)
    done = minigpt(*command, cwd=here)
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2
    for words in remedy(command, error):
        done = minigpt(*words, cwd=here)
        assert done.returncode == 0, f"{error}\nthen: {done.stderr}"
