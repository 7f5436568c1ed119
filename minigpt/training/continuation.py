"""What a run that goes on must have in common with what it was, so that it goes on exactly."""

from contextlib import suppress
from typing import Any

from minigpt.config.hyperparameters import Config
from minigpt.errors import UserError
from minigpt.runs import RunFolder, kept_steps, read_metadata
from minigpt.storage.checksums import DamageError
from minigpt.training.corpus import Corpus
from minigpt.training.distributed import Processes

FIXED = ("data", "tokenizer", "model")
"""Sections that a resumed run keeps as they were, but for the places of its text."""
PLACES = ("source", "directory")


def fixed(config: Config) -> dict[str, Any]:
    """What a run is made of and learns from, by its keys."""
    return {
        f"{section}.{name}": value
        for section, values in config
        for name, value in values
        if name.startswith("init_") or (section in FIXED and name not in PLACES)
    }


def check_fixed(before: Config, config: Config) -> None:
    """UserError where what a run is made of or learns from would change."""
    now = fixed(config)
    for key, was in fixed(before).items():
        if now[key] != was:
            raise UserError(
                f"command line: {key} = {now[key]}: cannot change when a run is resumed, and is {was}; "
                "leave it away, or begin a new run"
            )


def origins(config: Config, corpus: Corpus, processes: Processes) -> dict[str, Any]:
    """What every number of a run comes from, to be saved with its checkpoints."""
    return {
        "model": config.model.model_dump(),
        "fixed": fixed(config),
        "tokenizer": corpus.tokenizer.fingerprint,
        "text": corpus.text,
        "seed": config.run.seed,
        "processes": processes.world_size,
    }


def text_of(folder: RunFolder) -> str | None:
    """Fingerprint of the text that a run has learned from, whatever its place; None where no checkpoint tells."""
    with suppress(DamageError):
        for step in kept_steps(folder)[-1:]:
            return read_metadata(folder, step).text
    return None


def check_origins(config: Config, folder: RunFolder, step: int, now: dict[str, Any]) -> None:
    """UserError where a run would go on from a checkpoint as another one."""
    before = read_metadata(folder, step)
    for key, was in before.fixed.items():
        if now["fixed"].get(key, was) != was:
            raise UserError(f"{folder.config}: {key} = {now['fixed'][key]}: its checkpoint has {was}; put that back")
    if now["text"] != before.text:
        raise UserError(
            f"data.source = {config.data.source}: is not the text that this run has learned from so far; name that "
            "text, wherever it lies now, with data.source=PATH, or begin a new run"
        )
    if now["seed"] != before.seed:
        raise UserError(
            f"run.seed = {now['seed']}: this run's random numbers come from {before.seed}; "
            f"set run.seed={before.seed}, or begin a new run"
        )
    if now["processes"] != before.processes and config.model.dropout:
        raise UserError(
            f"torchrun: model.dropout = {config.model.dropout} of {now['processes']} processes is not that of "
            f"{before.processes}, by which this run was trained so far; start so many with --nproc-per-node"
        )
