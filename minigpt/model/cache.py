"""Keys and values of the tokens already read, so that a new token costs one position and not the whole text."""

import torch
from torch import Tensor

from minigpt.config.hyperparameters import ModelConfig
from minigpt.model.position import Positions


class LayerCache:
    """Keys and values of one layer, in room set aside for `capacity` tokens."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.length = 0
        # B G S K, made when the first keys show device and dtype; int8 has an order of its own. Zeros, since what lies
        # behind a mask counts 0 times, and 0 times anything is 0 only for numbers.
        self.keys: Tensor | None = None
        self.values: Tensor | None = None
        self.mask: Tensor | None = None
        """Of the positions that `append` returns, those that hold something; None where all do."""

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Store the new keys and values (B G t K); returns all stored so far (B G S K)."""
        if self.keys is None or self.values is None:
            shape = (*key.shape[:2], self.capacity, key.shape[3])
            self.keys = torch.zeros(shape, device=key.device, dtype=key.dtype)
            self.values = torch.zeros(shape, device=value.device, dtype=value.dtype)
        start, self.length = self.length, self.length + key.shape[2]
        self.keys[:, :, start : self.length] = key
        self.values[:, :, start : self.length] = value
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def spread(self, n_batch: int) -> None:
        """Give each of `n_batch` texts the keys and values of the only one so far."""
        assert self.keys is not None
        assert self.values is not None
        self.keys, self.values = (kept.repeat(n_batch, 1, 1, 1) for kept in (self.keys, self.values))


class KVCache:
    """One `LayerCache` per layer: prefill hands it a whole prompt while it is empty, decode then one token at a time.

    It has room for `n_tokens`, or for a whole context where that is less.
    """

    def __init__(self, config: ModelConfig, n_tokens: int | None = None) -> None:
        capacity = min(n_tokens or config.context_length, config.context_length)
        self.layers = [LayerCache(capacity) for _ in range(config.n_layers)]

    @property
    def capacity(self) -> int:
        """Positions that there is room for."""
        return self.layers[0].capacity

    @property
    def length(self) -> int:
        """Positions stored."""
        return self.layers[0].length

    def positions(self, n_new: int) -> Positions:
        """Where so many new tokens will stand."""
        assert self.length + n_new <= self.capacity, "the text is longer than the cache"
        return slice(self.length, self.length + n_new)

    def spread(self, n_batch: int) -> None:
        """Go on with `n_batch` texts that begin as the only one so far."""
        for layer in self.layers:
            layer.spread(n_batch)

    def clear(self) -> None:
        """Forget everything and keep the room."""
        for layer in self.layers:
            layer.length = 0
