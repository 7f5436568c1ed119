"""Read a folder of Hugging Face Transformers: config.json, safetensors in one file or several, tokenizer.json."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from torch import Tensor

from minigpt.config.hyperparameters import ModelConfig, SamplingConfig
from minigpt.errors import UserError, warn
from minigpt.interop.huggingface import is_transposed, their_name
from minigpt.interop.huggingface_config import Gpt2, Llama, read_settings
from minigpt.interop.imported import Imported, parameter_shapes
from minigpt.storage.checksums import read_json
from minigpt.tokenizers.huggingface import HuggingFaceTokenizer

SAMPLING = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
AGAIN = "copy the folder again from where it was whole"
CONSTANT = re.compile(r".*(\.attn\.(bias|masked_bias)|rotary_emb\.inv_freq)")
"""What older versions of Transformers have saved with the weights, and is none."""


def read_folder(path: Path) -> Imported:
    """The model in a folder; UserError where it is of another family, has what minigpt lacks, or is damaged."""
    if not (path / "config.json").exists():
        raise UserError(f"{path}: has no config.json; name a folder of Hugging Face Transformers, or a GGUF file")
    document = read_json(path / "config.json")
    settings, shape = read_settings(document, path / "config.json")
    generation = read_json(path / "generation_config.json") if (path / "generation_config.json").is_file() else {}
    tokenizer = read_tokenizer(path, document, generation, settings.vocab_size)
    weights = Weights(path, settings, shape)
    return Imported(path, shape, tokenizer, tokenizer.begins_texts, weights, read_sampling(generation, path))


def read_sampling(generation: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """How the model is to be sampled, as generation_config.json says it; UserError where that is not possible."""
    asked = {name: generation[name] for name in SAMPLING if generation.get(name) is not None}
    asked |= {} if generation.get("do_sample", True) else {"temperature": 0.0}
    asked = {name: value for name, value in asked.items() if (name, value) != ("top_k", 0)}
    try:
        SamplingConfig(**asked)
    except ValidationError as error:
        first = error.errors()[0]
        reason = f"{first['loc'][0]} = {first['input']}: {first['msg']}"
        raise UserError(f"{path / 'generation_config.json'}: {reason}; mend it there") from None
    return asked


def read_tokenizer(
    path: Path, config: Mapping[str, Any], generation: Mapping[str, Any], vocab_size: int
) -> HuggingFaceTokenizer:
    """The folder's tokenizer; UserError where it has none, or no end of text."""
    place = path / "tokenizer.json"
    if not place.is_file():
        again = f'AutoTokenizer.from_pretrained("{path}").save_pretrained("{path}")'
        raise UserError(f"{place}: is not there; make it with transformers: {again}")
    definition = read_json(place)
    ends = generation.get("eos_token_id") if config.get("eos_token_id") is None else config["eos_token_id"]
    end = ends[0] if isinstance(ends, list) and ends else ends
    if isinstance(ends, list) and len(ends) > 1:
        warn(f"{path}: eos_token_id = {ends}: minigpt ends a text at {end} only")
    if not isinstance(end, int):
        raise UserError(f"{path / 'config.json'}: eos_token_id = {ends}: must be the id of the token that ends a text")
    try:
        return HuggingFaceTokenizer(definition, vocab_size, end)
    except ValueError as error:
        raise UserError(f"{place}: {error}; {AGAIN}") from None


class Weights:
    """Parameters by minigpt's names, each read when it is asked for."""

    def __init__(self, path: Path, settings: Gpt2 | Llama, shape: ModelConfig) -> None:
        self._path, self._gpt2, self._settings = path, isinstance(settings, Gpt2), settings
        self._files = _files_of_weights(path)
        self._whole_names = any(name.startswith("transformer.") for name in self._files)
        self._shapes = parameter_shapes(shape)
        wanted = {self._theirs(name) for name in self._shapes if self._has(name)} | {"lm_head.weight"}
        if surplus := [name for name in self._files if name not in wanted and not CONSTANT.fullmatch(name)]:
            raise UserError(f"{path}: holds {surplus[0]}, for which minigpt's model has no place: it is another model")

    def __call__(self, name: str) -> Tensor:
        """A parameter; biases that the family lacks are zeros."""
        if not self._has(name):
            return torch.zeros(self._shapes[name])
        theirs = self._theirs(name)
        if theirs not in self._files:
            raise UserError(f"{self._path}: {theirs} is not there; {AGAIN}")
        try:
            with safe_open(self._files[theirs], "pt") as file:
                weight: Tensor = file.get_tensor(theirs)
        except (OSError, SafetensorError) as error:
            raise UserError(f"{self._files[theirs]}: damaged ({error}); {AGAIN}") from None
        if self._gpt2 and is_transposed(name):
            weight = weight.T
        if self._gpt2 and "c_attn" in theirs:
            weight = weight.chunk(3)["qkv".index(name.split(".")[-2][0])]
        return weight

    def _has(self, name: str) -> bool:
        return not name.endswith("_proj.bias") or self._settings.has_bias(name.split(".")[-2])

    def _theirs(self, name: str) -> str:
        theirs = their_name(name, self._gpt2)
        return theirs if self._whole_names else theirs.removeprefix("transformer.")


def _files_of_weights(path: Path) -> dict[str, Path]:
    """Which file has which tensor."""
    index, single = path / "model.safetensors.index.json", path / "model.safetensors"
    if index.is_file():
        files = read_json(index).get("weight_map")
        if not isinstance(files, dict) or not all(isinstance(name, str) for name in files.values()):
            raise UserError(f"{index}: damaged (weight_map); {AGAIN}")
        found = {name: path / Path(file).name for name, file in files.items()}
        if lacking := [str(file) for file in found.values() if not file.is_file()]:
            raise UserError(f"{lacking[0]}: is not there, and {index.name} names it; {AGAIN}")
        return found
    if not single.is_file():
        if not any(path.glob("*.bin")):
            raise UserError(f"{single}: is not there; {AGAIN}")
        new = f'AutoModelForCausalLM.from_pretrained("{path}").save_pretrained("{path}")'
        raise UserError(f"{single}: is not there, and other weights could run code; make it with transformers: {new}")
    try:
        with safe_open(single, "pt") as file:
            return dict.fromkeys(file.keys(), single)
    except (OSError, SafetensorError) as error:
        raise UserError(f"{single}: damaged ({error}); {AGAIN}") from None
