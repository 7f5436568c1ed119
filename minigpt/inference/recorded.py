"""Decoding on a CUDA GPU: the hundreds of calls of a step are recorded once (a CUDA graph) and replayed as one.

A GPU has done each of them long before Python makes the next. What is replayed finds everything at the same places in
memory every time: so attention looks at the whole room of the cache, behind a mask.
"""

import torch
from torch import Tensor

from minigpt.model.cache import KVCache, LayerCache
from minigpt.model.gpt import GPT
from minigpt.model.position import Positions

WARM_UP = 3
"""Steps before the recording, in which libraries choose their kernels."""


class RecordedGPT:
    """A packed model that decodes by a recorded step; prefill, which is of any length, is called as usual."""

    def __init__(self, packed: GPT) -> None:
        self.packed, self.config = packed, packed.config
        self._step: _Step | None = None

    def next_logits(self, token_ids: Tensor, cache: KVCache) -> Tensor:
        """Logits (B V, float32, on the CPU) of what comes after `token_ids` (B T), which join the cache."""
        if cache.length == 0 or token_ids.shape[1] > 1:
            return self.packed.next_logits(token_ids, cache)
        assert cache.length < cache.capacity, "the text is longer than the cache"
        if self._step is None or self._step.keys is not cache.layers[0].keys:
            self._step = _Step(self.packed, cache, len(token_ids))
        logits = self._step(token_ids, cache.length)
        for layer in cache.layers:
            layer.length += 1
        return logits.cpu()


class _Step:
    """A step with one cache, whose inputs and logits stay at their places in memory."""

    def __init__(self, packed: GPT, cache: KVCache, n_texts: int) -> None:
        self.packed, self.keys = packed, cache.layers[0].keys
        assert self.keys is not None
        self.token_ids = torch.zeros(n_texts, 1, dtype=torch.int64, device=self.keys.device)
        self.place = torch.zeros(1, dtype=torch.int64, device=self.keys.device)
        self.cache = _Room(cache, self.place)
        self.logits: Tensor | None = None
        self.graph: torch.cuda.CUDAGraph | None = None

    def __call__(self, token_ids: Tensor, place: int) -> Tensor:
        """Logits (B V, float32) of what comes after `token_ids` (B 1) at that place."""
        self.token_ids.copy_(token_ids)
        self.place.fill_(place)
        if self.graph is None:
            self._record()
        if self.graph is not None:
            self.graph.replay()
        assert self.logits is not None
        return self.logits

    def _record(self) -> None:
        if not self.place.is_cuda:  # nothing to record: each step is called
            self._run()
            return
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                self._run()
        torch.cuda.current_stream().wait_stream(stream)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self._run()

    def _run(self) -> None:
        self.cache.look()
        hidden = self.packed.hidden(self.token_ids, self.cache)
        self.logits = self.packed.lm_head(hidden[:, -1]).float()


class _Room(KVCache):
    """The same cache, whose next token goes to a place (1) that only the device knows."""

    def __init__(self, cache: KVCache, place: Tensor) -> None:
        self.place = place
        self.layers = [_LayerRoom(layer, place) for layer in cache.layers]

    def positions(self, n_new: int) -> Positions:
        assert n_new == 1
        return self.place

    def look(self) -> None:
        """Up to its place, and no further."""
        mask = torch.arange(self.capacity, device=self.place.device)[None] <= self.place
        for layer in self.layers:
            layer.mask = mask


class _LayerRoom(LayerCache):
    def __init__(self, layer: LayerCache, place: Tensor) -> None:
        super().__init__(layer.capacity)
        self.keys, self.values, self.place = layer.keys, layer.values, place

    def append(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        assert self.keys is not None
        assert self.values is not None
        return self.keys.index_copy_(2, self.place, key), self.values.index_copy_(2, self.place, value)
