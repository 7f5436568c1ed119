"""The loops of `kernels.cpp`, compiled where they are first needed and kept for the next time.

They take a processor with AVX-512 VNNI and the compiler g++; elsewhere `load` gives None, and torch's operations do.
"""

import ctypes
import hashlib
import os
import subprocess
import tempfile
from enum import IntEnum
from functools import cache, partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from minigpt.model.cache import LayerCache
from minigpt.model.position import Rotation

SOURCE = Path(__file__).with_name("kernels.cpp")
INSTRUCTIONS = ("fma", "avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512vnni")
COMPILER = ("g++", "-std=c++17", "-O3", "-fopenmp", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
HEAD_SIZES = range(16, 129, 16)
"""Of the heads that `attend` takes."""
TILE = (32, 4)
"""Outputs and inputs of the weights that two instructions take."""
PLACES = 16
"""Tokens whose keys one instruction takes: a cache has room for a multiple of them."""


class Before(IntEnum):
    """What happens to a vector before it is multiplied, as numbered in `kernels.cpp`."""

    NOTHING, RMS_NORM, LAYER_NORM, SWIGLU, GELU = range(5)


@cache
def load() -> ctypes.CDLL | None:
    """The compiled loops, or None where this machine cannot have them."""
    if not torch.cpu._is_vnni_supported():
        return None
    command = [*COMPILER, *(f"-m{name}" for name in INSTRUCTIONS)]
    name = hashlib.sha256(SOURCE.read_bytes() + str(command).encode()).hexdigest()[:16] + ".so"
    try:
        kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "minigpt", name)
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
                subprocess.run([*command, SOURCE, "-o", Path(folder, name)], check=True, capture_output=True)  # noqa: S603
                Path(folder, name).replace(kept)
        loops = ctypes.CDLL(str(kept))
    except (OSError, RuntimeError, subprocess.CalledProcessError):  # no compiler, no place to write, no home, ...
        return None
    loops.multiply.argtypes = [ctypes.c_void_p] * 5 + [ctypes.c_int64] * 6
    loops.keep.argtypes = [ctypes.c_void_p] * 4 + [ctypes.c_int64] * 4
    loops.attend.argtypes = [ctypes.c_void_p] * 7 + [ctypes.c_int64] * 6
    loops.multiply.restype = loops.keep.restype = loops.attend.restype = None
    return loops


class Int8Matrix:
    """Weights (out in) as integers of one byte, with one scale for each output, and a bias."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        loops = load()
        assert loops is not None
        self.n_outputs = len(weight)
        weight = F.pad(weight, (0, -weight.shape[1] % TILE[1], 0, -len(weight) % TILE[0]))
        self.n_inputs = weight.shape[1]
        self.scales = (weight.abs().amax(1) / 127).clamp(min=1e-30)
        tiles = (weight / self.scales[:, None]).round().view(-1, TILE[0], self.n_inputs // TILE[1], TILE[1])
        self.weights = (tiles.transpose(1, 2) + 128).to(torch.uint8).contiguous()
        self.bias = torch.zeros_like(self.scales)
        if bias is not None:
            self.bias[: self.n_outputs] = bias
        fixed = (tensor.data_ptr() for tensor in (self.weights, self.scales, self.bias))
        self._multiply = partial(loops.multiply, *fixed)

    def __call__(self, x: Tensor, before: Before, onto: Tensor | None = None) -> Tensor:
        """`before`(x) (... in), rounded to one byte, times the weights: ... out; with `onto`, added to it in place."""
        x = x.contiguous()
        y = x.new_empty(*x.shape[:-1], self.n_outputs) if onto is None else onto
        width = x.shape[-1]
        sizes = x.numel() // width, width, self.n_inputs, self.n_outputs
        self._multiply(x.data_ptr(), y.data_ptr(), before, *sizes, onto is not None)
        return y


def keep(key: Tensor, value: Tensor, cache: LayerCache) -> None:
    """Put keys and values of prompts (B G T K) into an empty cache, as integers in the order that `attend` reads."""
    loops = load()
    assert loops is not None
    n_texts, n_kv_heads, n_places, d_head = key.shape
    capacity = cache.capacity + -cache.capacity % PLACES
    if cache.keys is None or cache.values is None:
        shape = n_texts, n_kv_heads, capacity, d_head + 4  # bytes: each head has its integers, then the scales
        cache.keys, cache.values = torch.empty(shape, dtype=torch.uint8), torch.empty(shape, dtype=torch.uint8)
    key, value = key.contiguous(), value.contiguous()
    loops.keep(
        key.data_ptr(), value.data_ptr(), cache.keys.data_ptr(), cache.values.data_ptr(),
        n_texts * n_kv_heads, d_head, n_places, capacity,
    )  # fmt: skip
    cache.length = n_places


def attend(heads: Tensor, gains: Tensor | None, rotation: Rotation | None, cache: LayerCache, n_heads: int) -> Tensor:
    """Attention of one new token per text to all so far: heads (B, (H + 2 G) K) are its queries, keys and values.

    `gains` ((H + G) K) are those of the norms of queries and keys, times sqrt(K). The token joins the cache, which
    `keep` has begun. Gives B (H K).
    """
    loops, keys, values = load(), cache.keys, cache.values
    assert loops is not None
    assert keys is not None
    assert values is not None
    n_texts, n_kv_heads, capacity, _ = keys.shape
    d_head = heads.shape[-1] // (n_heads + 2 * n_kv_heads)
    mixed = heads.new_empty(n_texts, 1, n_heads * d_head)
    loops.attend(
        heads.data_ptr(), gains.data_ptr() if gains is not None else None,
        rotation.cosine.data_ptr() if rotation else None, rotation.sine.data_ptr() if rotation else None,
        keys.data_ptr(), values.data_ptr(), mixed.data_ptr(),
        n_texts, n_heads, n_kv_heads, d_head, capacity, cache.length,
    )  # fmt: skip
    cache.length += 1
    return mixed
