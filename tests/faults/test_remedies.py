"""What an error advises is done to the letter, and gets the person on."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from conftest import RECIPE, TINY, minigpt
from remedies import (
    CONFIG,
    LINES,
    LONG,
    OWN,
    RESUME,
    SAMPLE,
    TRAIN,
    Case,
    damage,
    edit,
    follow,
    found,
    instead,
    more,
    nothing,
    records,
    text,
    typed,
    without,
)
from safetensors.torch import load_file, save_file

from minigpt.runs import METADATA, WEIGHTS
from minigpt.storage.checksums import file_checksum, read_sealed, sealed


def diverge(place: Path) -> None:
    """Put NaN in the place of the last weights, as a training that diverged could have written it."""
    folder = place / "runs/tiny/checkpoints/step-00000012"
    weights = {name: torch.full_like(tensor, torch.nan) for name, tensor in load_file(folder / WEIGHTS).items()}
    save_file(weights, folder / WEIGHTS)
    metadata = read_sealed(folder / METADATA, dict)
    metadata["files"][WEIGHTS] = file_checksum(folder / WEIGHTS)
    (folder / METADATA).write_bytes(sealed(metadata))


def exchange(place: Path) -> None:
    """Put what belongs to another model in the place of the last checkpoint's metadata."""
    path = place / "runs/tiny/checkpoints/step-00000012" / METADATA
    metadata = read_sealed(path, dict)
    metadata["model"]["d_ff"] = 8
    metadata["files"] = dict.fromkeys(metadata["files"], "0" * 16)
    path.write_bytes(sealed(metadata))


def own_run(place: Path) -> None:
    """A run on a text."""
    text(LONG)(place)
    done = minigpt(*OWN, cwd=place)
    assert done.returncode == 0, done.stderr


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
    "another seed": (
        nothing,
        [*RESUME, "training.max_steps=14", "run.seed=7"],
        lambda command, error: [[*command[:-1], found(r"set (run\.seed=\d+),", error)]],
    ),
    **{
        f"{key} edited": (
            edit(f"{key}: {was}", f"{key}: {now}"),
            [*RESUME, "training.max_steps=14"],
            lambda command, error: [put_back(error) or command],
        )
        for key, was, now in (("validation_fraction", "0.03", "0.5"), ("n_stories", "400", "200"))
    },
    "the checkpoint of another run": (
        exchange,
        RESUME,
        instead(r"with --checkpoint: (\d+)", "--checkpoint={}"),
    ),
    "another optimizer": (
        nothing,
        [*RESUME, "training.max_steps=14", "optimizer.name=adamw"],
        without("optimizer.name=adamw", advice="with the optimizer section unchanged"),
    ),
    "a misspelt key": (
        nothing,
        [*CONFIG, "training.max_stps=5"],
        lambda command, error: [[*command[:-1], found("did you mean '([^']+)'", error) + "=5"]],
    ),
    "a misspelt run": (
        nothing,
        ["sample", "runs/tinny", "--max-new-tokens", "3"],
        lambda command, error: [["sample", found("did you mean '([^']+)'", error), *command[2:]]],
    ),
    "a misspelt recipe": (
        lambda place: shutil.copy(RECIPE, place / "mine.yaml"),
        ["config", "mime.yaml", *TINY],
        lambda command, error: [["config", found("did you mean '([^']+)'", error), *command[2:]]],
    ),
    "a misspelt text": (
        text(LONG),
        [*OWN[:-1], "data.source=txt.txt"],
        lambda command, error: [[*command[:-1], "data.source=" + found("did you mean '([^']+)'", error)]],
    ),
    "a misspelt tokenizer": (
        nothing,
        [*CONFIG, "tokenizer.kind=wrod"],
        lambda command, error: [[*command[:-1], "tokenizer.kind=" + found("did you mean '([^']+)'", error)]],
    ),
    "heads that do not divide": (
        nothing,
        [*CONFIG, "model.d_model=250", "model.n_heads=4"],
        more("model.d_head=32"),
    ),
    "no end": (
        nothing,
        [*CONFIG, "training.max_minutes=null", "training.max_steps=null"],
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
        [*CONFIG, "model.d_model=65536", "model.n_layers=99"],
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
    "a context as long as the text to learn from": (
        text("a" * 400),
        [*OWN, "data.validation_fraction=0.25", "model.context_length=300"],
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
        without("--prompt", "A", advice="give --prompt or --prompt-file, not both"),
    ),
    "a text for evaluation that is not there": (
        text(LONG),
        ["evaluate", "runs/tiny", "--text", "txt.txt"],
        lambda command, error: [[*command[:-1], found("did you mean '([^']+)'", error)]],
    ),
    "the claims of another text": (
        own_run,
        ["evaluate", "runs/own", "--claims"],
        without("--claims", advice="leave --claims away"),
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
        r"error: (\S+): \w+\.(\w+) = (\S+): its checkpoint has (\S+); put that", error
    )[0]
    Path(path).write_text(Path(path).read_text().replace(f"{key}: {value}", f"{key}: {right}"))


@pytest.mark.parametrize("name", CASES)
def test_the_remedy_works(name: str, two_runs: Path) -> None:
    follow(CASES[name], two_runs)
