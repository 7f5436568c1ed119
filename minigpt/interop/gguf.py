"""The same model as a GGUF file, which llama.cpp runs: weights, settings and tokenizer in one."""

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from minigpt.config.hyperparameters import ModelConfig
from minigpt.errors import UserError, warn
from minigpt.interop.families import family_of, weights_for_families
from minigpt.interop.gguf_file import require_gguf
from minigpt.interop.gguf_tokenizer import add_tokenizer, vocabulary_of
from minigpt.model.gpt import GPT
from minigpt.runs import Run
from minigpt.storage.writing import beside, room_for, settle

FILE_TYPES = {"f32": 0, "f16": 1, "q8_0": 7}
"""The formats that matrices can have, with the numbers of files that have mostly such ones."""
NAMES = {
    "token_embedding": "token_embd",
    "position_embedding": "position_embd",
    "final_norm": "output_norm",
    "lm_head": "output",
    "attention_norm": "attn_norm",
    "attention.q_proj": "attn_q",
    "attention.k_proj": "attn_k",
    "attention.v_proj": "attn_v",
    "attention.o_proj": "attn_output",
    "attention.q_norm": "attn_q_norm",
    "attention.k_norm": "attn_k_norm",
    "feed_forward_norm": "ffn_norm",
    "feed_forward.gate_proj": "ffn_gate",
    "feed_forward.up_proj": "ffn_up",
    "feed_forward.down_proj": "ffn_down",
}
"""What llama.cpp calls the parts of a model."""


def export_gguf(run: Run, path: Path, dtype: str) -> None:
    """Write a run's model as one file, whole or not at all; matrices are in `dtype`, norms and biases in float32.

    A warning says where llama.cpp cuts texts into other tokens. UserError names what stands in the way.
    """
    gguf = require_gguf()
    config = run.model.config
    family = family_of(config)
    vocabulary = vocabulary_of(run.tokenizer)
    if vocabulary.difference:
        warn(f"{path}: {vocabulary.difference}")
    with room_for(path), beside(path) as partial:
        with closing(gguf.GGUFWriter(partial, family)) as writer:
            writer.add_name(run.config.run.name)
            writer.add_description(f"{'imported into' if run.config.data.source is None else 'trained with'} minigpt")
            writer.add_file_type(FILE_TYPES[dtype])
            writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
            for key, value in settings(config).items():
                add = writer.add_float32 if isinstance(value, float) else writer.add_uint32
                add(f"{family}.{key}", value)
            add_tokenizer(writer, run.tokenizer, vocabulary, run.config.sampling.begin_document is True)
            for name, weight in their_weights(run.model):
                content, kind = stored(name, weight, dtype)
                writer.add_tensor(name, content, raw_dtype=kind)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        settle(partial, path)


def settings(config: ModelConfig) -> dict[str, int | float]:
    """A model's shape, by llama.cpp's keys without the family before them."""
    common: dict[str, int | float] = {
        "context_length": config.context_length,
        "embedding_length": config.d_model,
        "block_count": config.n_layers,
        "feed_forward_length": config.d_ff,
        "attention.head_count": config.n_heads,
        "attention.head_count_kv": config.n_kv_heads,
    }
    if config.norm == "layernorm":
        return common | {"attention.layer_norm_epsilon": config.norm_epsilon}
    return common | {
        "attention.layer_norm_rms_epsilon": config.norm_epsilon,
        "attention.key_length": config.d_head,
        "attention.value_length": config.d_head,
        "rope.dimension_count": config.d_head,
        "rope.freq_base": config.rope_theta,
    }


def their_name(name: str) -> str:
    """What llama.cpp calls a parameter of ours: blocks.0.attention.q_proj.weight is blk.0.attn_q.weight."""
    *path, kind = name.split(".")
    if path[0] != "blocks":
        return f"{NAMES[path[0]]}.{kind}"
    _, layer, *inside = path
    return f"blk.{layer}.{NAMES['.'.join(inside)]}.{kind}"


def their_weights(model: GPT) -> Iterator[tuple[str, Tensor]]:
    """Names and weights as llama.cpp has them, in float32 on the CPU.

    GPT-2 has queries, keys and values in one matrix. Llama's queries and keys are in another order (`interleaved`).
    """
    config = model.config
    family = family_of(config)
    weights = {name: weight.float() for name, weight in weights_for_families(model).items()}
    for name, weight in weights.items():
        part = name.split(".")[-2]
        if family == "gpt2" and part in ("k_proj", "v_proj"):
            continue
        if family == "gpt2" and part == "q_proj":
            whole = torch.cat([weights[name.replace("q_proj", f"{each}_proj")] for each in "qkv"])
            yield their_name(name).replace("attn_q", "attn_qkv"), whole
        elif family == "llama" and part in ("q_proj", "k_proj"):
            yield their_name(name), interleaved(weight, config.d_head)
        else:
            yield their_name(name), weight


def interleaved(rows: Tensor, d_head: int) -> Tensor:
    """Rows of queries or keys in the order of llama.cpp's Llama, whose rotary positions turn neighbours.

    Ours turn the numbers i and i + K/2 of a head.
    """
    return rows.unflatten(0, (-1, 2, d_head // 2)).transpose(1, 2).flatten(0, 2)


def halved(rows: Tensor, d_head: int) -> Tensor:
    """The other way round: rows in our order."""
    return rows.unflatten(0, (-1, d_head // 2, 2)).transpose(1, 2).flatten(0, 2)


def stored(name: str, weight: Tensor, dtype: str) -> tuple[Any, Any]:
    """A weight as the file has it, and its type there; in q8_0, rows that are no whole blocks of 32 are in f16."""
    gguf = require_gguf()
    kinds = gguf.GGMLQuantizationType
    matrix = weight.ndim == 2 and not name.startswith("position_embd")
    kind = kinds[dtype.upper()] if matrix else kinds.F32
    if kind == kinds.Q8_0 and weight.shape[-1] % gguf.GGML_QUANT_SIZES[kind][0]:
        kind = kinds.F16
    if kind != kinds.F32 and weight.abs().max() > np.finfo(np.float16).max:
        raise UserError(f"{name}: has numbers that are too large for {dtype}; export with --dtype f32")
    return gguf.quants.quantize(weight.contiguous().numpy(), kind), kind
