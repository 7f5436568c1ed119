"""Checkpoints: written beside their place, flushed to disk, then renamed, so that a reader sees a whole one or none."""

import io
import json
import os
import pickle
import shutil
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from pydantic import NonNegativeFloat, NonNegativeInt
from pydantic.dataclasses import dataclass

from minigpt import __version__
from minigpt.errors import UserError
from minigpt.model.gpt import GPT
from minigpt.optimizers import Optimizers
from minigpt.runs import Index, RunFolder, load_weights, read_index


@dataclass
class Progress:
    """How far a run has come. With the seed it fixes every random number and every batch that is still to come."""

    step: NonNegativeInt = 0
    tokens: NonNegativeInt = 0
    seconds: NonNegativeFloat = 0.0
    best_loss: float | None = None
    best_step: NonNegativeInt | None = None
    stale_evaluations: NonNegativeInt = 0
    """Evaluations since the best one."""
    metrics_bytes: NonNegativeInt = 0
    """Length of metrics.jsonl when the checkpoint was saved."""
    loss_scale: float = 2.0**16
    """Factor of the loss that keeps float16's gradients inside its range."""
    steps_in_range: NonNegativeInt = 0
    """Steps since it was last changed."""


def save_checkpoint(folder: RunFolder, model: GPT, optimizers: Optimizers, progress: Progress) -> None:
    """Save everything that an exact continuation needs; raises OSError where the disk does not take it."""
    place = folder.checkpoint(progress.step)
    partial = place.with_name(f".partial-{place.name}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
        if model.config.tie_embeddings:
            del weights["lm_head.weight"]
        state = io.BytesIO()
        torch.save({"optimizers": optimizers.state_dict(), "progress": asdict(progress)}, state)
        metadata = {**asdict(progress), "minigpt": __version__, "torch": torch.__version__}
        write_durably(partial / "model.safetensors", safetensors.torch.save(weights, {"format": "pt"}))
        write_durably(partial / "training_state.pt", state.getvalue())
        write_durably(partial / "metadata.json", json.dumps(metadata, indent=1).encode())
        if place.exists():
            _delete(place)
        partial.rename(place)
        _flush_directory(place.parent)
    except OSError:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def write_index(folder: RunFolder, index: Index, series: Collection[int] = ()) -> None:
    """Make `index` the truth, and delete the checkpoints that it does not name; the weights of a `series` stay."""
    partial = folder.index.with_name(".partial-index.json")
    write_durably(partial, json.dumps(asdict(index)).encode())
    partial.replace(folder.index)
    _flush_directory(folder.index.parent)
    kept = {folder.checkpoint(step) for step in (index.last, index.best) if step is not None}
    to_look_at = {folder.checkpoint(step) for step in series}
    for path in [path for path in folder.index.parent.iterdir() if path.is_dir() and path not in kept]:
        if path in to_look_at:
            (path / "training_state.pt").unlink(missing_ok=True)
        else:
            _delete(path)


def thinned(steps: Collection[int], every: int, n: int) -> set[int]:
    """At most `n` of the checkpoints at multiples of `every` steps, evenly spread: all, each second, each fourth."""
    while n and len(kept := {step for step in steps if step % every == 0}) > n:
        every *= 2
    return kept if n else set()


def load_checkpoint(folder: RunFolder, model: GPT, optimizers: Optimizers) -> Progress:
    """Bring model and optimizers to the last checkpoint's state; UserError where it is damaged."""
    place = folder.checkpoint(read_index(folder).last)
    load_weights(model, place / "model.safetensors")
    path = place / "training_state.pt"
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        progress, optimizer_states = Progress(**state["progress"]), state["optimizers"]
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, LookupError, TypeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "damaged"
        raise UserError(f"{path}: {reason}; restore it, or name another checkpoint as last in index.json") from None
    try:
        optimizers.load_state_dict(optimizer_states)
    except (RuntimeError, LookupError, AttributeError, TypeError, ValueError):
        raise UserError(
            f"{path}: was saved with another optimizer; resume with the optimizer section unchanged"
        ) from None
    return progress


def write_durably(path: Path, content: bytes) -> None:
    """Write a file and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _delete(folder: Path) -> None:
    """Delete a checkpoint; it loses its name first, so that half a one is never taken for whole."""
    doomed = folder if folder.name.startswith(".") else folder.rename(folder.with_name(f".deleted-{folder.name}"))
    shutil.rmtree(doomed)


def _flush_directory(folder: Path) -> None:
    """Wait until a rename inside `folder` is on disk (Windows does so by itself)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)
