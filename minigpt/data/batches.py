"""Which tokens are looked at when: training batches in random order, evaluation windows in the text's order."""

from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minigpt.data.tokens import TokenStream
from minigpt.errors import UserError

IGNORED = -100
"""Target that is not scored: the value that cross-entropy leaves out."""


class Batches:
    """Training batches, each computed from (seed, index) alone: going on after an interruption needs no history.

    An epoch cuts the text at a random offset into windows that do not overlap, and goes through them in random order.
    A text with fewer windows than a batch is cut at random places instead. With several processes each one gets its
    own rows of the same global batch.
    """

    def __init__(
        self, tokens: TokenStream, context_length: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        if batch_size % world_size:
            raise UserError(f"training.batch_size = {batch_size}: must be divisible by the {world_size} processes")
        if len(tokens) <= context_length:
            raise UserError(
                f"data.source: its training part has {len(tokens)} tokens and model.context_length = {context_length} "
                "needs one more than that; give a longer text or a shorter context"
            )
        self.tokens, self.context_length, self.seed = tokens, context_length, seed
        self.batch_size = batch_size
        self.rows = slice(rank * batch_size // world_size, (rank + 1) * batch_size // world_size)
        self.batches_per_epoch = (len(tokens) - context_length) // context_length // batch_size
        self._order = lru_cache(maxsize=1)(self._epoch_order)

    def batch(self, index: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets (B T, int64) of micro-batch number `index`, counted from the beginning of the run."""
        if self.batches_per_epoch:
            epoch, place = divmod(index, self.batches_per_epoch)
            starts = self._order(epoch)[place * self.batch_size : (place + 1) * self.batch_size]
        else:
            random = np.random.default_rng((self.seed, index))
            starts = random.integers(len(self.tokens) - self.context_length, size=self.batch_size)
        windows = np.stack([self.tokens[start : start + self.context_length + 1] for start in starts[self.rows]])
        return inputs_and_targets(windows)

    def _epoch_order(self, epoch: int) -> NDArray[np.int64]:
        random = np.random.default_rng((self.seed, epoch))
        offset = int(random.integers(self.context_length))
        n_windows = (len(self.tokens) - 1 - offset) // self.context_length
        return random.permutation(n_windows) * self.context_length + offset


def evaluation_windows(
    tokens: Sequence[int] | NDArray[np.unsignedinteger] | TokenStream,
    context_length: int,
    batch_size: int,
    stride: int | None = None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """Windows (inputs and targets, B T) that score every token but the very first exactly once.

    A window begins `stride` tokens after the one before it. Without a stride they do not overlap; with one, a window
    scores only what no window before it has scored, so that those tokens have a past of at least
    context_length - stride. Targets that are not scored are -100.
    """
    if len(tokens) < 2:
        raise UserError(f"the text to evaluate on has {len(tokens)} tokens; it needs at least 2")
    stride = stride or context_length
    rows: list[NDArray[np.int64]] = []
    scored_to = 1  # tokens before this place are scored (or the first)
    for start in range(0, len(tokens) - 1, stride):
        window = np.asarray(tokens[start : start + context_length + 1]).astype(np.int64)
        row = np.full((2, context_length), IGNORED)
        row[0] = 0
        row[0, : len(window) - 1] = window[:-1]
        row[1, : len(window) - 1] = window[1:]
        row[1, : scored_to - start - 1] = IGNORED
        scored_to = start + len(window)
        rows.append(row)
        last = scored_to == len(tokens)
        if len(rows) == batch_size or last:
            stacked = torch.from_numpy(np.stack(rows, 1))
            yield stacked[0], stacked[1]
            rows = []
        if last:
            return


def inputs_and_targets(windows: NDArray[np.unsignedinteger]) -> tuple[Tensor, Tensor]:
    """Windows (B T+1) as what the model reads and what it is to say next (B T each)."""
    whole = torch.from_numpy(windows.astype(np.int64))
    return whole[:, :-1], whole[:, 1:]
