"""A run's model for everybody else's tools: a folder of Transformers, or a GGUF file for llama.cpp."""

import json
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from minigpt.errors import UserError, nearest
from minigpt.interop.card import card
from minigpt.interop.huggingface import settings, their_weights
from minigpt.interop.tokenizer import definition, special_tokens
from minigpt.runs import Run
from minigpt.storage.writing import beside, check_free, room_for, settle, write_through
from minigpt.tokenizers import Tokenizer

DTYPES = {"huggingface": ("f32", "f16"), "gguf": ("f32", "f16", "q8_0")}
"""Of the weights, by format; the first is taken where none is asked for."""


def check_format(format: str, dtype: str | None) -> str:  # noqa: A002
    """The dtype that a format's weights get; UserError where there is no such format, or it has no such weights."""
    if format not in DTYPES:
        raise UserError(f"--format {format}: must be {' or '.join(DTYPES)}{nearest(format, DTYPES)}")
    dtypes = DTYPES[format]
    if dtype is not None and dtype not in dtypes:
        raise UserError(f"--dtype {dtype}: {format} takes {', '.join(dtypes)}{nearest(dtype, dtypes)}")
    return dtype or dtypes[0]


def export_run(run: Run, path: Path, format: str = "huggingface", dtype: str | None = None) -> None:  # noqa: A002
    """Write a folder (huggingface) or a file (gguf), with weights in f32, f16 or, in a file, q8_0.

    UserError where something is at `path`, or the model or its tokenizer cannot be carried over.
    """
    dtype = check_format(format, dtype)
    check_free(path)
    for name, weight in run.model.named_parameters():
        if not weight.isfinite().all():
            raise UserError(f"{name}: has what are no numbers; the model has diverged: take another with --checkpoint")
    if format == "gguf":
        from minigpt.interop.gguf import export_gguf

        export_gguf(run, path, dtype)
    else:
        _export_folder(run, path, torch.float32 if dtype == "f32" else torch.float16)


def _export_folder(run: Run, path: Path, dtype: torch.dtype) -> None:
    begins = run.config.sampling.begin_document is True
    tokenizer = run.tokenizer
    ends = {"bos_token_id": tokenizer.begin_of_text, "eos_token_id": tokenizer.end_of_text}
    documents: dict[str, Any] = {
        "config.json": settings(run.config.model) | ends | {"dtype": str(dtype).removeprefix("torch.")},
        "generation_config.json": _generation(run) | ends | {"pad_token_id": tokenizer.end_of_text},
        "tokenizer.json": definition(tokenizer, begins),
        "tokenizer_config.json": _tokenizer_config(tokenizer, run.config.model.context_length),
    }
    weights = their_weights(run.model)
    for name, weight in weights.items():
        if weight.abs().max() > torch.finfo(dtype).max:
            raise UserError(f"{name}: has numbers that are too large for f16; export with --dtype f32")
        weights[name] = weight.to(dtype)
    with room_for(path), beside(path) as partial:
        partial.mkdir()
        for name, document in documents.items():
            write_through(partial / name, f"{json.dumps(document, indent=1, ensure_ascii=False)}\n".encode())
        n_parameters = sum(weight.numel() for weight in weights.values())
        write_through(partial / "README.md", card(run, path.resolve().name, n_parameters).encode())
        write_through(partial / "model.safetensors", safetensors.torch.save(weights, {"format": "pt"}))
        settle(partial, path)


def _generation(run: Run) -> dict[str, Any]:
    """How the run samples, as `generation_config.json` says it; how much is for the caller to say."""
    sampling = run.config.sampling
    if sampling.temperature == 0:
        return {"do_sample": False}
    return {
        "do_sample": True,
        "temperature": sampling.temperature,
        "top_k": sampling.top_k or 0,
        "top_p": sampling.top_p or 1.0,
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repetition_penalty,
    }


def _tokenizer_config(tokenizer: Tokenizer, context_length: int) -> dict[str, Any]:
    """What Transformers wants to know beside `tokenizer.json`; special tokens inside a text are text."""
    names = {token: name for name, token in special_tokens(tokenizer).items()}
    begin, end = names[tokenizer.begin_of_text], names[tokenizer.end_of_text]
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": begin,
        "eos_token": end,
        "pad_token": end,
        "model_max_length": context_length,
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": True,
    }
