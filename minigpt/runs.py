"""A run is a folder: what is where in it, and how a trained model is taken out of it."""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import NonNegativeInt, TypeAdapter
from safetensors import SafetensorError
from safetensors.torch import load_file

from minigpt.config.hyperparameters import Config
from minigpt.config.recipe import load_recipe
from minigpt.errors import UserError, nearest
from minigpt.model.gpt import GPT
from minigpt.tokenizers import Tokenizer, load_tokenizer


@dataclass(frozen=True)
class RunFolder:
    """Paths inside one run's folder."""

    path: Path

    @property
    def config(self) -> Path:
        """The fully resolved recipe."""
        return self.path / "config.yaml"

    @property
    def tokenizer(self) -> Path:
        """The whole tokenizer."""
        return self.path / "tokenizer.json"

    @property
    def metrics(self) -> Path:
        """One JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def tensorboard(self) -> Path:
        """Folder with the same numbers for TensorBoard."""
        return self.path / "tensorboard"

    @property
    def report(self) -> Path:
        """Curves, samples and settings as a page."""
        return self.path / "report.html"

    @property
    def index(self) -> Path:
        """Which checkpoint is last and which is best."""
        return self.path / "checkpoints" / "index.json"

    def checkpoint(self, step: int) -> Path:
        """Folder of the checkpoint that was saved at `step`."""
        return self.path / "checkpoints" / f"step-{step:08d}"


@dataclass(frozen=True)
class Index:
    """Steps of the last and of the best checkpoint (best: None before the first evaluation)."""

    last: NonNegativeInt
    best: NonNegativeInt | None


@dataclass(frozen=True)
class Run:
    """A trained model with all that it needs, in evaluation mode on one device."""

    folder: RunFolder
    config: Config
    tokenizer: Tokenizer
    model: GPT
    step: int


def open_folder(path: Path) -> RunFolder:
    """The run folder at `path`; UserError where there is none."""
    folder = RunFolder(path)
    if not folder.config.is_file():
        runs = [str(config.parent) for config in path.parent.glob("*/config.yaml") if config.is_file()]
        hint = nearest(str(path), runs) or "; name the folder that `minigpt train` made, such as runs/stories"
        raise UserError(f"{path}: not a run folder (it has no config.yaml){hint}")
    return folder


def read_index(folder: RunFolder) -> Index:
    """The run's checkpoint index; UserError where it is missing or damaged."""
    steps = kept_steps(folder)
    if not steps:
        raise UserError(f"{folder.path}: has no checkpoint yet; train it first")
    try:
        return TypeAdapter(Index).validate_json(folder.index.read_bytes(), strict=True)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "damaged"
        right = f'{{"last": {steps[-1]}, "best": null}}'
        raise UserError(f"{folder.index}: {reason}; restore it, or write {right} into it") from None


def kept_steps(folder: RunFolder) -> list[int]:
    """Steps of the checkpoints that are in the folder, in order."""
    names = (path.name for path in folder.index.parent.glob("step-*"))
    return sorted(int(name[5:]) for name in names if re.fullmatch("step-[0-9]{8,18}", name))


def checkpoint_step(folder: RunFolder, which: str) -> int:
    """The step that `last`, `best` or a number names; UserError where there is no such checkpoint."""
    if which in ("last", "best"):
        index = read_index(folder)
        return index.best if which == "best" and index.best is not None else index.last
    steps = {str(step): step for step in kept_steps(folder)}
    if which not in steps:
        there = ", ".join(steps) or "none yet"
        raise UserError(f"{folder.path}: --checkpoint {which}: must be best, last or a step that was kept ({there})")
    return steps[which]


def load_run(path: Path, which: str = "best", device: torch.device | None = None) -> Run:
    """Config, tokenizer and model of a run folder; `which` is best, last or a step."""
    folder = open_folder(path)
    config = load_recipe(folder.config)
    tokenizer = load_tokenizer(folder.tokenizer)
    step = checkpoint_step(folder, which)
    if config.model.vocab_size != tokenizer.vocab_size:
        raise UserError(f"{folder.tokenizer}: does not belong to this run (another vocabulary size than config.yaml's)")
    model = GPT(config.model)
    load_weights(model, folder.checkpoint(step) / "model.safetensors")
    return Run(folder, config, tokenizer, model.to(device or torch.device("cpu")).eval(), step)


def load_weights(model: GPT, path: Path) -> None:
    """Read a checkpoint's weights into `model`; UserError where they are damaged or of another shape."""
    try:
        weights = load_file(path)
        if model.config.tie_embeddings:
            weights["lm_head.weight"] = weights["token_embedding.weight"]
        model.load_state_dict(weights)
    except (OSError, SafetensorError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:300]
        raise UserError(
            f"{path}: not this run's weights ({reason}); restore the file, or take another checkpoint: "
            "with --checkpoint, or to resume by its step in index.json"
        ) from None
