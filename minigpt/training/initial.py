"""Training that goes on from another run's model: its weights, its shape, its tokenizer, and everything else anew."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minigpt.config.hyperparameters import Config
from minigpt.errors import UserError
from minigpt.model.gpt import GPT
from minigpt.runs import (
    WEIGHTS,
    RunFolder,
    checked,
    checkpoint_step,
    load_config,
    load_weights,
    open_folder,
    own_tokenizer,
)

FREE = ("context_length", "dropout")
"""Settings of a model that may be others than those that it was trained with so far."""


@dataclass(frozen=True)
class Initial:
    """A checkpoint that a run begins with, and the run's recipe with the shape that it has."""

    folder: RunFolder
    step: int
    recipe: Config

    def load(self, model: GPT) -> None:
        """Give `model` the checkpoint's weights."""
        load_weights(model, checked(self.folder, self.step, WEIGHTS))

    def describe(self) -> str:
        """For people."""
        return f"{self.folder.path}, step {self.step:,}"


def find_initial(config: Config) -> Initial | None:
    """The checkpoint that `training.init_from` names, if it does.

    UserError where there is none, or where the recipe asks for another model or tokenizer than it has.
    """
    training = config.training
    if training.init_from is None:
        return None
    if config.auto:
        raise UserError(
            f"{config.auto[0]} = auto: training.init_from = {training.init_from} has a size already, and what depends "
            "on it is not chosen; leave model and tokenizer out, and give the others a value"
        )
    folder = open_folder(Path(training.init_from))
    step = checkpoint_step(folder, training.init_checkpoint, asked="training.init_checkpoint =")
    before = load_config(folder)
    own_tokenizer(folder, before, step, WEIGHTS)
    _check_asked(config, "tokenizer", before.tokenizer.model_dump(), ())
    _check_asked(config, "model", before.model.model_dump(), FREE if before.model.position == "rope" else ("dropout",))
    asked = {name: getattr(config.model, name) for name in FREE if name in config.model.model_fields_set}
    with (folder.checkpoint(step) / WEIGHTS).open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if training.init_sha256 not in (None, sha256):
        raise UserError(
            f"training.init_sha256 = {training.init_sha256}: {folder.checkpoint(step) / WEIGHTS} has {sha256}; "
            "name the run that has the right ones with training.init_from, or leave init_sha256 out to take these"
        )
    origin = {"init_from": str(folder.path.absolute()), "init_checkpoint": str(step), "init_sha256": sha256}
    recipe = config.model_copy(
        update={
            "tokenizer": before.tokenizer,
            "model": before.model.model_copy(update=asked),
            "training": training.model_copy(update=origin),
        }
    )
    return Initial(folder, step, recipe)


def _check_asked(config: Config, section: str, trained: dict[str, Any], free: tuple[str, ...]) -> None:
    """UserError where the recipe asks for another value than the model has that it begins with."""
    values = getattr(config, section)
    for name in values.model_fields_set - set(free):
        if (asked := getattr(values, name)) != trained[name]:
            raise UserError(
                f"{section}.{name} = {asked}: {config.training.init_from} (training.init_from) has {trained[name]}; "
                "leave it out, or put that there"
            )
