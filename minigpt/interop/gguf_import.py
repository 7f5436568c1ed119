"""Read a GGUF file: models of GPT-2, Llama, Qwen2 and Qwen3, also with weights of a few bits."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor

from minigpt.config.hyperparameters import ModelConfig
from minigpt.errors import UserError
from minigpt.interop.gguf import halved, their_name
from minigpt.interop.gguf_file import GgufFile
from minigpt.interop.gguf_vocabulary import begins_documents, read_tokenizer
from minigpt.interop.imported import Imported, parameter_shapes

FAMILIES = ("gpt2", "llama", "qwen2", "qwen3")
SIZES = {
    "context_length": "context_length",
    "embedding_length": "d_model",
    "block_count": "n_layers",
    "feed_forward_length": "d_ff",
    "attention.head_count": "n_heads",
    "attention.head_count_kv": "n_kv_heads",
    "attention.key_length": "d_head",
    "rope.freq_base": "rope_theta",
    "attention.layer_norm_epsilon": "norm_epsilon",
    "attention.layer_norm_rms_epsilon": "norm_epsilon",
}
"""Settings by llama.cpp's keys, without the family before them, and by ours."""
REQUIRED = ("context_length", "embedding_length", "block_count", "feed_forward_length", "attention.head_count")
ONLY: dict[str, tuple[object, ...]] = {
    "attention.causal": (True,),
    "attention.sliding_window": (0,),
    "expert_count": (0,),
    "expert_used_count": (0,),
    "rope.scaling.type": ("none",),
    "rope.scaling.factor": (0.0, 1.0),
    "rope.scale_linear": (1.0,),
}
"""Settings with the values that minigpt's model has."""
ROPE_FACTORS = "rope_freqs.weight"
OTHER = "import a model without it"


def read_gguf(path: Path) -> Imported:
    """The model in a file; UserError where it is of another family, has what minigpt lacks, or is damaged."""
    file = GgufFile(path)
    family = file.values.get("general.architecture")
    if family not in FAMILIES:
        raise UserError(f"{path}: general.architecture = {family!r}: minigpt can have models of {', '.join(FAMILIES)}")
    shape = read_shape(file, family)
    weights = Weights(file, family, shape)
    return Imported(path, shape, read_tokenizer(file, shape.vocab_size or 0), begins_documents(file), weights)


def read_shape(file: GgufFile, family: str) -> ModelConfig:
    """What a file says of its model's shape; UserError names what minigpt's model cannot have."""
    given = {
        key.removeprefix(f"{family}."): value for key, value in file.values.items() if key.startswith(f"{family}.")
    }
    found = {SIZES[key]: _short(value) for key, value in given.items() if key in SIZES}
    if missing := [key for key in REQUIRED if key not in given]:
        raise UserError(f"{file.path}: {family}.{missing[0]} is not there; get a whole file of the model")
    if (embedding := file.tensors.get("token_embd.weight")) is None:
        raise UserError(f"{file.path}: the tensor token_embd.weight is not there; get a whole file of the model")
    gpt2 = family == "gpt2"
    try:
        shape = ModelConfig(
            **found,
            vocab_size=embedding.shape[0],
            feed_forward="gelu" if gpt2 else "swiglu",
            position="learned" if gpt2 else "rope",
            norm="layernorm" if gpt2 else "rmsnorm",
            qk_norm=family == "qwen3",
            bias=gpt2 or any(name.endswith(".bias") for name in file.tensors),
            tie_embeddings="output.weight" not in file.tensors,
            scale_embeddings=False,
            reference_width=None,
        )
    except ValidationError as error:
        first = error.errors()[0]
        theirs = {ours: f"{family}.{key}" for key, ours in SIZES.items() if key in given}
        key = "".join(f"{theirs.get(str(part), part)} = {repr(first['input'])[:50]}: " for part in first["loc"][:1])
        reason = first["msg"].removeprefix("Value error, ")
        raise UserError(f"{file.path}: {key}{reason}; get a whole file of the model") from None
    own = {"attention.value_length": shape.d_head, "rope.dimension_count": shape.d_head, "vocab_size": shape.vocab_size}
    allowed = ONLY | {key: (value,) for key, value in own.items()}
    for key, value in given.items():
        if key not in SIZES and (key not in allowed or value not in allowed[key]):
            only = f"{allowed[key][0]} only" if key in allowed else "nothing of the kind"
            raise UserError(
                f"{file.path}: {family}.{key} = {repr(value)[:50]}: minigpt's model can have {only}; {OTHER}"
            )
    return shape


def _short(value: Any) -> Any:
    """A number that has come through float32 as it was written: 0.00001 and not 0.0000099999997."""
    return float(str(np.float32(value))) if isinstance(value, float) else value


class Weights:
    """Parameters by minigpt's names, each read when it is asked for; UserError where the file has others than those."""

    def __init__(self, file: GgufFile, family: str, shape: ModelConfig) -> None:
        self._file, self._family, self._d_head = file, family, shape.d_head
        self._shapes = parameter_shapes(shape)
        surplus = set(file.tensors)
        for name, expected in self._shapes.items():
            theirs, parts = self._theirs(name)
            surplus.discard(theirs)
            if theirs not in file.tensors and name.endswith(".bias"):
                continue
            if theirs not in file.tensors:
                raise UserError(f"{file.path}: the tensor {theirs} is not there; get a whole file of the model")
            there = file.tensors[theirs].shape
            if there != (expected[0] * parts, *expected[1:]):
                raise UserError(f"{file.path}: {theirs} has the shape {there}, by the file's own settings another one")
        if ROPE_FACTORS in surplus and bool((file.tensor(ROPE_FACTORS) == 1).all()):
            surplus.remove(ROPE_FACTORS)
        if surplus:
            raise UserError(f"{file.path}: {min(surplus)}: minigpt's model has no place for this tensor; {OTHER}")

    def __call__(self, name: str) -> Tensor:
        """A parameter in float32; biases that the file lacks are zeros."""
        theirs, parts = self._theirs(name)
        if theirs not in self._file.tensors:
            return torch.zeros(self._shapes[name])
        weight = self._file.tensor(theirs)
        part = name.split(".")[-2]
        if parts > 1:
            return weight.chunk(parts)["qkv".index(part[0])]
        return halved(weight, self._d_head) if self._family == "llama" and part in ("q_proj", "k_proj") else weight

    def _theirs(self, name: str) -> tuple[str, int]:
        """The file's tensor that has a parameter, and how many of that shape it has in it (GPT-2's Q, K and V)."""
        theirs = their_name(name)
        if self._family == "gpt2" and name.split(".")[-2] in ("q_proj", "k_proj", "v_proj"):
            return theirs.replace(theirs.split(".")[-2], "attn_qkv"), 3
        return theirs, 1
