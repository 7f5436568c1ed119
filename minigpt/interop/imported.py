"""A model from elsewhere becomes an ordinary run, one tensor after the other: memory holds only the largest."""

import json
import math
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import torch
import xxhash
from torch import Tensor

from minigpt.config.hyperparameters import Config, ModelConfig
from minigpt.config.recipe import save_recipe
from minigpt.errors import UserError
from minigpt.model.gpt import outline
from minigpt.runs import METADATA, WEIGHTS, Index, RunFolder
from minigpt.storage.checksums import sealed
from minigpt.storage.version import installed_version
from minigpt.storage.writing import beside, check_free, room_for, settle, write_whole
from minigpt.tokenizers import Tokenizer


@dataclass(frozen=True)
class Imported:
    """What a model is made of, in minigpt's terms."""

    source: Path
    shape: ModelConfig
    tokenizer: Tokenizer
    begins_documents: bool
    """Whether a text is to begin with the tokenizer's begin-of-text."""
    weight: Callable[[str], Tensor]
    """A parameter of `GPT(shape)` by its name, of any dtype; UserError where it is not there."""
    sampling: Mapping[str, Any] = field(default_factory=dict)
    """How it is to be sampled, where that is known."""


def write_run(model: Imported, path: Path) -> RunFolder:
    """Write a model as the run at `path`; UserError where something is there, or where the model is not whole."""
    check_free(path)
    name = re.sub("[^A-Za-z0-9._-]+", "-", path.resolve().name).lstrip("._-") or "imported"
    config = Config.model_validate(
        {
            "run": {"name": name, "directory": str(path)},
            "data": {"source": None},
            "tokenizer": {"kind": model.tokenizer.kind, "vocab_size": min(max(257, model.tokenizer.vocab_size), 10**6)},
            "model": model.shape,
            "sampling": {**model.sampling, "begin_document": model.begins_documents},
        }
    )
    with room_for(path), beside(path) as partial:
        folder = RunFolder(partial)
        checkpoint = folder.checkpoint(0)
        checkpoint.mkdir(parents=True)
        metadata = {
            "step": 0,
            "best_step": None,
            "risen": False,
            "minigpt": installed_version(),
            "imported_from": str(model.source.absolute()),
            "model": model.shape.model_dump(),
            "tokenizer": model.tokenizer.fingerprint,
            "text": "",
            "seed": config.run.seed,
            "processes": 1,
            "files": {WEIGHTS: write_weights(checkpoint / WEIGHTS, model)},
        }
        write_whole(checkpoint / METADATA, sealed(metadata))
        model.tokenizer.save(folder.tokenizer)
        write_whole(folder.index, sealed(asdict(Index(0, None))))
        save_recipe(config, folder.config)
        settle(partial, path)
    return RunFolder(path)


@cache
def parameter_shapes(shape: ModelConfig) -> Mapping[str, torch.Size]:
    """The names of the parameters of `GPT(shape)`, with their shapes, without memory for them."""
    return {name: parameter.shape for name, parameter in outline(shape).named_parameters()}


def write_weights(path: Path, model: Imported) -> str:
    """Write every parameter in float32 as safetensors; returns the file's checksum."""
    parameters = parameter_shapes(model.shape)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in parameters.items():
        begin, end = end, end + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    digest = xxhash.xxh3_64()
    with path.open("wb") as file:
        for part in (len(text).to_bytes(8, "little"), text):
            file.write(part)
            digest.update(part)
        for name, shape in parameters.items():
            weight = model.weight(name)
            if weight.shape != shape:
                raise UserError(
                    f"{model.source}: {name} has the shape {tuple(weight.shape)} and should have {tuple(shape)}; "
                    "its settings are another model's"
                )
            weight = weight.to(torch.float32) if weight.is_floating_point() else weight[:0]
            if not weight.numel() or not all(bound.isfinite() for bound in weight.aminmax()):
                raise UserError(f"{model.source}: {name} holds what are no numbers in float32; get the model again")
            content = weight.contiguous().numpy().data
            file.write(content)
            digest.update(content)
        file.flush()
        os.fsync(file.fileno())
    return digest.hexdigest()
