"""GGUF files for tests: written byte by byte, as the format is described, and from models that were never trained."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from conftest import random_model

from minigpt.config.hyperparameters import Config
from minigpt.interop.gguf import export_gguf
from minigpt.runs import Run, RunFolder
from minigpt.tokenizers import Tokenizer

F32 = 0
ALIGNMENT = 32


def string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def value(content: Any) -> bytes:
    """The number of a value's type, and the value."""
    match content:
        case bool():
            return struct.pack("<I?", 7, content)
        case int():
            return struct.pack("<Ii", 5, content)
        case float():
            return struct.pack("<If", 6, content)
        case str():
            return struct.pack("<I", 8) + string(content)
    items = [value(item) for item in content]
    return struct.pack("<I", 9) + items[0][:4] + struct.pack("<Q", len(items)) + b"".join(item[4:] for item in items)


def gguf_bytes(values: Mapping[str, Any], tensors: Mapping[str, tuple[tuple[int, ...], int, bytes]]) -> bytes:
    """A whole file; tensors are shape, number of the type, content."""
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(values))
    head += b"".join(string(key) + value(content) for key, content in values.items())
    content = b""
    for name, (shape, kind, numbers) in tensors.items():
        dimensions = struct.pack(f"<I{len(shape)}Q", len(shape), *reversed(shape))
        head += string(name) + dimensions + struct.pack("<IQ", kind, len(content))
        content += numbers + bytes(-len(numbers) % ALIGNMENT)
    return head + bytes(-len(head) % ALIGNMENT) + content


def float32(weight: torch.Tensor) -> tuple[tuple[int, ...], int, bytes]:
    return tuple(weight.shape), F32, weight.detach().numpy().astype(np.float32).tobytes()


def as_run(tokenizer: Tokenizer, sampling: dict[str, Any] | None = None, **shape: Any) -> Run:
    """A run of a random model that writes something else at each step."""
    model = random_model(vocab_size=tokenizer.vocab_size, **shape)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.sub_(0.1).mul_(4)
    config = Config.model_validate({"model": model.config, "data": {"source": None}, "sampling": sampling or {}})
    return Run(RunFolder(Path("nowhere")), config, tokenizer, model, 0)


def exported(path: Path, run: Run, dtype: str = "f32") -> Path:
    export_gguf(run, path, dtype)
    return path
