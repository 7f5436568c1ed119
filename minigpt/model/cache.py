"""Keys and values of the tokens already read, so that a new token costs one position and not the whole text."""

import torch
from torch import Tensor

from minigpt.config import ModelConfig


class LayerCache:
    """Keys and values of one layer, in room set aside for a whole context."""

    def __init__(self, shape: tuple[int, int, int, int], device: torch.device, dtype: torch.dtype) -> None:
        self.keys = torch.empty(shape, device=device, dtype=dtype)  # B G T K
        self.values = torch.empty(shape, device=device, dtype=dtype)
        self.length = 0

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new keys and values (B G t K); returns all stored so far (B G S K)."""
        start, self.length = self.length, self.length + key.shape[2]
        self.keys[:, :, start : self.length] = key
        self.values[:, :, start : self.length] = value
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]


class Cache:
    """One `LayerCache` per layer; takes a whole prompt while it is empty, and then one token at a time."""

    def __init__(self, config: ModelConfig, batch_size: int, device: torch.device, dtype: torch.dtype) -> None:
        shape = (batch_size, config.n_kv_heads, config.context_length, config.d_head)
        self.layers = [LayerCache(shape, device, dtype) for _ in range(config.n_layers)]
        self.capacity = config.context_length

    @property
    def length(self) -> int:
        """Positions stored."""
        return self.layers[0].length

    def clear(self) -> None:
        """Forget everything and keep the room."""
        for layer in self.layers:
            layer.length = 0
