"""Checkpoints: written beside their place, flushed to disk, then renamed, so that a reader sees a whole one or none."""

import io
import pickle
import re
import warnings
from collections.abc import Collection
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import safetensors.torch
import torch

from minigpt.config.hyperparameters import TrainingConfig
from minigpt.errors import UserError
from minigpt.model.gpt import GPT
from minigpt.optimizers import Optimizers
from minigpt.runs import METADATA, STATE, WEIGHTS, Index, RunFolder, checked, kept_steps, load_weights, or_another
from minigpt.storage.checksums import DamageError, checksum, read_sealed, sealed
from minigpt.storage.metrics import parse_metrics
from minigpt.storage.version import installed_version
from minigpt.storage.writing import beside, flush_folder, write_through, write_whole
from minigpt.training.progress import Progress

BROKEN = (RuntimeError, BadZipFile, EOFError, pickle.UnpicklingError, LookupError, TypeError, ValueError, UserWarning)
"""What torch raises over a file that it has not written."""
OWN = r"(\.deleted-)?step-[0-9]{8,18}|\.partial-step-[0-9]{8,18}-.+"
"""Names of what is made in the folder of checkpoints."""


class Keeper:
    """Saves a run's checkpoints, and keeps those that it can go on from."""

    def __init__(self, folder: RunFolder, settings: TrainingConfig, resumed: Progress | None) -> None:
        self._folder, self._settings = folder, settings
        self._good_step = None if resumed is None else _good_before(folder, resumed.step)
        self._remember(resumed)

    def begin(self, progress: Progress) -> None:
        """Make the checkpoint that the run goes on from its last one, before anything else of the run is changed.

        UserError where its metrics are damaged.
        """
        parse_metrics(self._folder.metrics)
        with suppress(DamageError):  # was told when the index was read for the step
            if read_sealed(self._folder.index, Index).last == progress.step:
                return
        index = Index(progress.step, progress.best_step, self._good_step, progress.metrics_bytes)
        write_whole(self._folder.index, sealed(asdict(index)))

    def save(self, model: GPT, optimizers: Optimizers, progress: Progress, origins: dict[str, Any]) -> None:
        """Save a checkpoint of this step, unless it is the one that was saved last, or that the run goes on from."""
        if progress.step != self.saved_step:
            save_checkpoint(self._folder, model, optimizers, progress, origins)
            self._good_step = self.saved_step if self._saved_is_good else self._good_step
            self._remember(progress)
            self.write_index(progress, progress.metrics_bytes)

    def write_index(self, progress: Progress, metrics_bytes: int) -> None:
        """Say which checkpoints are last and best; of the others, a thinned series stays to be looked at."""
        every, n = self._settings.checkpoint_every, self._settings.keep_checkpoints
        steps = [step for step in kept_steps(self._folder) if step <= progress.step]  # not those before a step back
        series = thinned(steps, every, n)
        index = Index(progress.step, progress.best_step, self._good_step, metrics_bytes)
        write_index(self._folder, index, series)

    def _remember(self, saved: Progress | None) -> None:
        self.saved_step = None if saved is None else saved.step
        self._saved_is_good = saved is not None and not saved.risen


def _good_before(folder: RunFolder, step: int) -> int | None:
    """The good checkpoint before `step` that the index knows of."""
    with suppress(DamageError):  # was told when the index was read for the step
        previous = read_sealed(folder.index, Index).previous
        return previous if previous is not None and previous < step else None
    return None


def save_checkpoint(
    folder: RunFolder, model: GPT, optimizers: Optimizers, progress: Progress, origins: dict[str, Any]
) -> None:
    """Save everything that an exact continuation needs, and what it belongs to.

    Raises OSError where the disk does not take it.
    """
    place = folder.checkpoint(progress.step)
    place.parent.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    if model.config.tie_embeddings:
        del weights["lm_head.weight"]
    state = io.BytesIO()
    torch.save({"optimizers": optimizers.state_dict(), "progress": asdict(progress)}, state)
    contents = {WEIGHTS: safetensors.torch.save(weights, {"format": "pt"}), STATE: state.getvalue()}
    metadata = {
        **asdict(progress),
        "risen": progress.risen,
        "minigpt": installed_version(),
        "torch": torch.__version__,
        **origins,
        "files": {name: checksum(content) for name, content in contents.items()},
    }
    contents[METADATA] = sealed(metadata)
    with beside(place) as partial:
        partial.mkdir()
        for name, content in contents.items():
            write_through(partial / name, content)
        if place.exists():
            delete_checkpoint(place)
        if place.exists():  # somebody's own files are in it
            for name in contents:
                (partial / name).replace(place / name)
        else:
            partial.rename(place)
    flush_folder(place.parent)


def write_index(folder: RunFolder, index: Index, series: Collection[int] = ()) -> None:
    """Make `index` the truth, and delete the checkpoints that it does not name; the weights of a `series` stay."""
    write_whole(folder.index, sealed(asdict(index)))
    kept = {folder.checkpoint(step) for step in (index.last, index.best, index.previous) if step is not None}
    to_look_at = {folder.checkpoint(step) for step in series}
    for path in own_folders(folder):
        if path in to_look_at - kept:
            (path / STATE).unlink(missing_ok=True)
        elif path not in kept:
            delete_checkpoint(path)


def thinned(steps: Collection[int], every: int, n: int) -> set[int]:
    """At most `n` of the checkpoints at multiples of `every` steps, evenly spread: all, each second, each fourth."""
    while n and len(kept := {step for step in steps if step % every == 0}) > n:
        every *= 2
    return kept if n else set()


def load_checkpoint(folder: RunFolder, model: GPT, optimizers: Optimizers, step: int) -> Progress:
    """Bring model and optimizers to the state of a checkpoint; UserError where it is damaged."""
    with or_another(folder, step, WEIGHTS, STATE):
        load_weights(model, checked(folder, step, WEIGHTS))
        path = checked(folder, step, STATE)
        progress, optimizer_states = _read_state(path)
    try:
        optimizers.load_state_dict(optimizer_states)
    except (RuntimeError, LookupError, AttributeError, TypeError, ValueError):
        raise UserError(
            f"{path}: was saved with another optimizer; resume with the optimizer section unchanged"
        ) from None
    return progress


def _read_state(path: Path) -> tuple[Progress, Any]:
    """What a training state holds; DamageError where it is none."""
    try:
        with ZipFile(path) as parts:  # torch packs nothing: what is packed could be of any size
            if any(part.compress_type != ZIP_STORED for part in parts.infolist()):
                raise ValueError
        with warnings.catch_warnings(action="error", category=UserWarning):  # of what torch has never written
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return Progress(**state["progress"]), state["optimizers"]
    except BROKEN as error:
        raise DamageError(f"{path}: not a training state ({type(error).__name__})") from None


def delete_checkpoint(folder: Path) -> None:
    """Delete a checkpoint; it loses its name first, so that half a one is never taken for whole.

    What somebody has put beside its files stays.
    """
    doomed = folder if folder.name.startswith(".") else folder.rename(folder.with_name(f".deleted-{folder.name}"))
    for name in (METADATA, STATE, WEIGHTS):
        (doomed / name).unlink(missing_ok=True)
    try:
        doomed.rmdir()
    except OSError:
        doomed.rename(folder)


def own_folders(folder: RunFolder) -> list[Path]:
    """Folders of checkpoints, half ones included: those that may be deleted."""
    paths = folder.index.parent.glob("*step-*")
    return [path for path in paths if re.fullmatch(OWN, path.name)]
