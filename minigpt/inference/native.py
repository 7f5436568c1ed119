"""Inference in int8: a whole step is one call of `cpp/step.cpp`."""

import ctypes
from ctypes import Structure, c_float, c_int64, c_void_p

import torch
import torch.nn.functional as F
from torch import Tensor

from minigpt.config.hyperparameters import ModelConfig
from minigpt.inference.compiled import load
from minigpt.inference.folding import Before, Folded, FoldedBlock, fold, fold_block
from minigpt.model.cache import KVCache
from minigpt.model.gpt import GPT

LARGEST_HEAD = 128
LARGEST_SUM = 2**16
"""Products of two int8 numbers that fit into 32 bits when they are added up."""
TILE = (32, 4)
"""Outputs and inputs of the weights that are worked on together."""
LANES = 16
"""Numbers that are worked on together: heads are filled up to a multiple of it, and so is the room of a cache."""


def fits(config: ModelConfig) -> bool:
    """Whether the integers are large enough for a model of this shape."""
    widths = config.d_model, config.d_ff, config.n_heads * config.d_head
    return config.d_head <= LARGEST_HEAD and max(widths) <= LARGEST_SUM


def round_up(n: int, to: int) -> int:
    """The next multiple of `to`."""
    return n + -n % to


class Matrix(Structure):
    """Weights in tiles, as in `cpp/model.h`."""

    _fields_ = [
        *((name, c_void_p) for name in ("weights", "scales", "bias")),
        *((name, c_int64) for name in ("before", "width", "n_in", "n_out")),
        ("epsilon", c_float),
    ]


class Layer(Structure):
    """A block, as in `cpp/model.h`."""

    _fields_ = [(name, Matrix) for name in ("qkv", "o", "up", "down")] + [("gains", c_void_p)]


class Model(Structure):
    """As in `cpp/model.h`."""

    _fields_ = [
        *((name, c_int64) for name in ("n_layers", "n_heads", "n_kv_heads", "d_head", "d_model")),
        *((name, c_float) for name in ("embedding_scale", "epsilon")),
        *((name, c_void_p) for name in ("embedding", "positions", "cosine", "sine", "layers")),
        ("lm_head", Matrix),
    ]


class Int8GPT:
    """A model for inference: weights, what they are multiplied with, queries, keys and values are int8.

    There is one scale for each output of a matrix, and one for each vector.
    """

    def __init__(self, model: GPT) -> None:
        library = load()
        assert library is not None
        assert fits(model.config)
        self._next_logits = library.next_logits
        self.config = config = model.config
        self.n_bytes = 0
        """Of weights, which a step reads."""
        self._pointed_at: list[object] = []
        layers = [self._layer(fold_block(block)) for block in model.layers]
        array = (Layer * len(layers))(*layers)
        self._pointed_at.append(array)
        rotary, positions = model.rotary, model.position_embedding
        self._model = Model(
            len(layers), config.n_heads, config.n_kv_heads, config.d_head, config.d_model,
            model.embedding_scale, config.norm_epsilon,
            embedding=self._address(model.token_embedding.weight.detach()),
            positions=self._address(positions.weight.detach()) if positions is not None else None,
            cosine=self._address(self._fill_up(rotary.cosine)) if rotary is not None else None,
            sine=self._address(self._fill_up(rotary.sine)) if rotary is not None else None,
            layers=ctypes.addressof(array),
            lm_head=self._matrix(fold([model.lm_head], model.final_norm)),
        )  # fmt: skip

    def next_logits(self, token_ids: Tensor, cache: KVCache) -> Tensor:
        """Logits (B V) of what comes after `token_ids` (B T), which join the cache."""
        n_texts, n_new = token_ids.shape
        start, room = cache.length, round_up(cache.capacity, LANES)
        assert start + n_new <= cache.capacity, "the text is longer than the cache"
        if cache.layers[0].keys is None:
            n_bytes = round_up(self.config.d_head, LANES) + 4  # of a head: integers and their scale
            shape = n_texts, self.config.n_kv_heads, room, n_bytes
            for layer in cache.layers:
                layer.keys, layer.values = (torch.empty(shape, dtype=torch.uint8) for _ in range(2))
        kept = [layer.keys for layer in cache.layers] + [layer.values for layer in cache.layers]
        assert kept[0] is not None
        assert len(kept[0]) == n_texts
        places = (c_void_p * len(kept))(*[part.data_ptr() for part in kept])  # type: ignore[union-attr]
        token_ids = token_ids.to(torch.int64).contiguous()
        logits = torch.empty(n_texts, self._model.lm_head.n_out)
        self._next_logits(
            ctypes.addressof(self._model), token_ids.data_ptr(), places, logits.data_ptr(),
            n_texts, n_new, start, room, torch.get_num_threads(),
        )  # fmt: skip
        for layer in cache.layers:
            layer.length += n_new
        return logits

    def _layer(self, block: FoldedBlock) -> Layer:
        weight, bias = self._fill_up(block.qkv.weight.T).T, self._fill_up(block.qkv.bias)
        return Layer(
            self._matrix(block.qkv._replace(weight=weight, bias=bias)),
            self._matrix(block.o._replace(weight=self._fill_up(block.o.weight))),
            self._matrix(block.up),
            self._matrix(block.down),
            None if block.gains is None else self._address(self._fill_up(block.gains)),
        )

    def _matrix(self, folded: Folded) -> Matrix:
        weight, bias, before, epsilon = folded
        n_out, width = weight.shape
        more, n_in = -n_out % TILE[0], round_up(width, TILE[1])
        weight = F.pad(weight, (0, n_in - width, 0, more))
        scales = (weight.abs().amax(1) / 127).clamp(min=1e-30)
        tiles = (weight / scales[:, None]).round().view(-1, TILE[0], n_in // TILE[1], TILE[1])
        integers = (tiles.transpose(1, 2) + 128).to(torch.uint8)
        width *= 2 if before == Before.SWIGLU else 1
        self.n_bytes += integers.nbytes
        addresses = map(self._address, (integers, scales, F.pad(bias, (0, more))))
        return Matrix(*addresses, before, width, n_in, n_out, epsilon)

    def _fill_up(self, heads: Tensor) -> Tensor:
        """The last axis (... (heads K)) with zeros between, so that each head, and each half of it, fills registers."""
        d_head = self.config.d_head
        halves = heads.unflatten(-1, (-1, d_head)).tensor_split(2, -1)
        size = round_up(d_head, LANES) // 2
        return torch.cat([F.pad(half, (0, size - half.shape[-1])) for half in halves], -1).flatten(-2)

    def _address(self, tensor: Tensor) -> int:
        assert tensor.device.type == "cpu"
        assert tensor.dtype in (torch.float32, torch.uint8)
        self._pointed_at.append(tensor := tensor.contiguous())
        return tensor.data_ptr()
