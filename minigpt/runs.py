"""A run is a folder: what is where in it, and how a trained model is taken out of it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ConfigDict, Field, NonNegativeInt, PositiveInt
from pydantic.dataclasses import dataclass as checked_dataclass
from safetensors import SafetensorError
from safetensors.torch import load_file

from minigpt.config.hyperparameters import Config, ModelConfig
from minigpt.config.recipe import is_as_written, load_recipe
from minigpt.errors import UserError, nearest_path, typed, warn
from minigpt.model.gpt import GPT
from minigpt.storage.checksums import DamageError, check_file, read_sealed
from minigpt.tokenizers import Tokenizer, load_tokenizer

WEIGHTS, STATE, METADATA = "model.safetensors", "training_state.pt", "metadata.json"
"""Files of a checkpoint."""


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
    def explain(self) -> Path:
        """The model's inside as a page."""
        return self.path / "explain.html"

    @property
    def habits(self) -> Path:
        """What heads and neurons usually do."""
        return self.path / "habits.json"

    @property
    def index(self) -> Path:
        """Which checkpoint is last and which is best."""
        return self.path / "checkpoints" / "index.json"

    def checkpoint(self, step: int) -> Path:
        """Folder of the checkpoint that was saved at `step`."""
        return self.path / "checkpoints" / f"step-{step:08d}"


@checked_dataclass(frozen=True, config=ConfigDict(extra="forbid", strict=True))
class Index:
    """Steps that a run can go on from: the last, the best evaluated, the last good (its loss had not risen) before."""

    last: NonNegativeInt
    best: NonNegativeInt | None
    previous: NonNegativeInt | None = None
    metrics_bytes: NonNegativeInt = 0  # that metrics.jsonl had when this was written


@checked_dataclass(frozen=True, config=ConfigDict(extra="ignore", strict=True))
class Metadata:
    """What a checkpoint belongs to."""

    step: NonNegativeInt
    best_step: NonNegativeInt | None
    risen: bool  # the training loss
    model: dict[str, Any]  # its shape
    tokenizer: str  # its fingerprint
    text: str  # the fingerprint of what was learned from, whatever its place
    seed: NonNegativeInt
    processes: PositiveInt
    files: dict[str, str]  # checksum of each
    fixed: dict[str, Any] = Field(default_factory=dict)  # settings that stay as they are when training goes on


@dataclass(frozen=True, eq=False)
class Run:
    """A trained model with all that it needs, in evaluation mode on one device."""

    folder: RunFolder
    config: Config
    tokenizer: Tokenizer
    model: GPT
    step: int

    def encode_prompt(self, text: str) -> list[int]:
        """The ids of a text to continue; a new document's, where that is how the run writes."""
        return self.tokenizer.encode_prompt(text, self.config.sampling.begin_document is True)


def open_folder(path: Path) -> RunFolder:
    """The run folder at `path`; UserError where there is none."""
    folder = RunFolder(path)
    if not folder.config.is_file():
        runs = (config.parent for config in path.parent.glob("*/config.yaml") if config.is_file())
        hint = nearest_path(path, runs) or "; name the folder that `minigpt train` made, such as runs/stories"
        raise UserError(f"{path}: not a run folder (it has no config.yaml){hint}")
    return folder


def load_config(folder: RunFolder) -> Config:
    """The run's recipe; a warning says where it is not as it was written."""
    config = load_recipe(folder.config)
    if not is_as_written(folder.config):
        warn(f"{folder.config}: was changed since it was written")
    return config


def read_index(folder: RunFolder) -> Index:
    """The run's checkpoint index; put together from the checkpoints, with a warning, where it is not as it was written.

    UserError where there is no checkpoint, or none that is whole.
    """
    steps = kept_steps(folder)
    if not steps:
        raise UserError(
            f"{folder.path}: has no checkpoint; copy the run's folder again from where it had one, or begin it anew: "
            f"minigpt train {typed(folder.config)} {typed(Path(f'run.directory={folder.path}'))} --overwrite"
        )
    try:
        return read_sealed(folder.index, Index)
    except DamageError as error:
        reason = error
    for step in reversed(kept_steps(folder, STATE)):
        with suppress(DamageError):
            best = read_metadata(folder, step).best_step
            warn(f"{reason}; step {step} is the last whole checkpoint")
            return Index(step, best if best in steps else None)
    raise DamageError(f"{reason}, and so are the checkpoints; copy the run's folder again from where it was whole")


def read_metadata(folder: RunFolder, step: int) -> Metadata:
    """What a checkpoint belongs to; DamageError where it is not as it was written."""
    path = folder.checkpoint(step) / METADATA
    metadata = read_sealed(path, Metadata)
    if metadata.step != step:
        raise DamageError(f"{path}: belongs to step {metadata.step}")
    return metadata


def checked(folder: RunFolder, step: int, name: str) -> Path:
    """A file of a checkpoint, as it was written; DamageError where it is not."""
    path = folder.checkpoint(step) / name
    check_file(path, read_metadata(folder, step).files.get(name, ""))
    return path


@contextmanager
def or_another(folder: RunFolder, step: int, *names: str) -> Iterator[None]:
    """Add to a DamageError over a checkpoint in which others the files of these names are whole."""
    try:
        yield
    except DamageError as error:
        others = []
        for other in set(kept_steps(folder)) - {step}:
            with suppress(DamageError):
                others += [other] if [checked(folder, other, name) for name in names] else []
        there = ", ".join(map(str, sorted(others)))
        instead = f", or take another checkpoint with --checkpoint: {there}" if others else ""
        raise DamageError(f"{error}; copy it again from where it was whole{instead}") from None


def kept_steps(folder: RunFolder, name: str = WEIGHTS) -> list[int]:
    """Steps of the checkpoints in the folder that have a file of that name, in order."""
    names = (path.parent.name for path in folder.index.parent.glob(f"step-*/{name}"))
    return sorted(int(name[5:]) for name in names if re.fullmatch("step-[0-9]{8,18}", name))


def checkpoint_step(folder: RunFolder, which: str, name: str = WEIGHTS, asked: str = "--checkpoint") -> int:
    """The step that `last`, `best` or a number names; UserError where no such checkpoint has a file of that name."""
    if which in ("last", "best"):
        index = read_index(folder)
        return index.best if which == "best" and index.best is not None else index.last
    steps = {str(step): step for step in kept_steps(folder, name)}
    if which not in steps:
        kept = f"a step {'that' if name == WEIGHTS else 'whose state'} was kept ({', '.join(steps) or 'none yet'})"
        raise UserError(f"{folder.path}: {asked} {which}: must be best, last or {kept}")
    return steps[which]


def load_run(path: Path, which: str = "best", device: torch.device | None = None) -> Run:
    """Config, tokenizer and model of a run folder; `which` is best, last or a step."""
    folder = open_folder(path)
    return load_step(folder, load_config(folder), checkpoint_step(folder, which), device)


def load_step(folder: RunFolder, config: Config, step: int, device: torch.device | None = None) -> Run:
    """A run as it was at a step; UserError where its files are not as they were written."""
    tokenizer = own_tokenizer(folder, config, step, WEIGHTS)
    with or_another(folder, step, WEIGHTS):
        weights = folder.checkpoint(step) / WEIGHTS
        if weights.stat().st_size < 4 * config.model.n_weights:  # before there is memory for so many
            raise DamageError(f"{weights}: is too small for the model of {folder.config}")
        model = GPT(config.model)
        load_weights(model, weights)
    return Run(folder, config, tokenizer, model.to(device or torch.device("cpu")).eval(), step)


def own_tokenizer(folder: RunFolder, config: Config, step: int, *names: str) -> Tokenizer:
    """The run's tokenizer; UserError where it or the recipe is not that of a checkpoint with files of these names."""
    with or_another(folder, step, *names):
        for name in names:
            checked(folder, step, name)
        metadata = read_metadata(folder, step)
    for key, value in config.model.model_dump().items():
        if value != (trained := metadata.model.get(key, ModelConfig.model_fields[key].default)):
            raise UserError(f"{folder.config}: model.{key} = {value}: its checkpoint has {trained}; put that back")
    tokenizer = load_tokenizer(folder.tokenizer)
    if tokenizer.fingerprint != metadata.tokenizer:
        raise DamageError(f"{folder.tokenizer}: is another run's; copy it again from where this run was whole")
    return tokenizer


def load_weights(model: GPT, path: Path) -> None:
    """Read a checkpoint's weights into `model`; DamageError where they are of another shape."""
    try:
        weights = load_file(path)
        if model.config.tie_embeddings:
            weights["lm_head.weight"] = weights["token_embedding.weight"]
        model.load_state_dict(weights)
    except (OSError, SafetensorError, RuntimeError, KeyError) as error:
        raise DamageError(f"{path}: not this run's weights ({' '.join(str(error).split())[:300]})") from None
