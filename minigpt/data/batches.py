"""Which tokens are looked at when: training batches in random order, evaluation windows in the text's order."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from minigpt.data.shards import Ids
from minigpt.data.tokens import TokenStream

IGNORED = -100
"""Target that is not scored: the value that cross-entropy leaves out."""


class Batches:
    """Training batches, each row computed from (seed, number of the row) alone: going on needs no history.

    An epoch cuts the text at a random offset into windows that do not overlap, and goes through them in random order.
    A window moves on to where the next document begins, if one begins before the next window or with it: stories are
    read from their start. A text of less than two windows is cut at random places instead. With several processes each
    one gets its own rows of the same global batch.
    """

    def __init__(
        self,
        tokens: TokenStream,
        context_length: int,
        batch_size: int,
        seed: int,
        begin_of_text: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        assert batch_size % world_size == 0
        self.tokens, self.context_length, self.seed, self.begin_of_text = tokens, context_length, seed, begin_of_text
        self.rows = slice(rank * batch_size // world_size, (rank + 1) * batch_size // world_size)
        self.windows_per_epoch = (len(tokens) - context_length) // context_length
        self._order = lru_cache(maxsize=2)(self._epoch_order)

    def batch(self, first: int) -> tuple[Tensor, Tensor]:
        """Inputs and targets (B T, int64) of the micro-batch that begins with row `first`, counted in the run."""
        rows = range(first + self.rows.start, first + self.rows.stop)
        return inputs_and_targets(np.stack([self._window(self._start(row)) for row in rows]))

    def _start(self, row: int) -> int:
        if not self.windows_per_epoch:
            random = np.random.default_rng((self.seed, row))
            return int(random.integers(len(self.tokens) - self.context_length))
        epoch, place = divmod(row, self.windows_per_epoch)
        return int(self._order(epoch)[place])

    def _window(self, start: int) -> Ids:
        """The T + 1 tokens from `start` on, or from the first begin-of-text among the T + 1 places after it."""
        tokens = self.tokens[start : start + 2 * self.context_length + 1]
        documents = np.flatnonzero(tokens[: len(tokens) - self.context_length] == self.begin_of_text)
        first = documents[0] if len(documents) else 0
        return tokens[first : first + self.context_length + 1]

    def _epoch_order(self, epoch: int) -> NDArray[np.int64]:
        random = np.random.default_rng((self.seed, epoch))
        offset = int(random.integers(self.context_length))
        n_windows = (len(self.tokens) - 1 - offset) // self.context_length
        return random.permutation(n_windows) * self.context_length + offset


def begins_with_documents(tokens: TokenStream, context_length: int, begin_of_text: int) -> bool:
    """Whether most training windows begin with a document, by the first million tokens."""
    part = tokens[: 2**20]
    return int((part == begin_of_text).sum()) * context_length >= len(part)


def evaluation_windows(
    tokens: Ids | TokenStream, context_length: int, batch_size: int, begin_of_text: int, stride: int | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Windows (inputs and targets, B T) that score every token but the very first exactly once.

    Without a stride they do not overlap, and a window in which another document begins ends there, so that the next
    one begins with that document. With a stride, a window begins so many tokens after the one before it and scores
    only what none before it has scored: those tokens have a past of at least context_length - stride. Targets that are
    not scored are -100.
    """
    rows: list[NDArray[np.int64]] = []
    start, scored_to = 0, 1  # tokens before `scored_to` are scored (or the first)
    while scored_to < len(tokens):
        window = np.asarray(tokens[start : start + context_length + 1]).astype(np.int64)
        if stride is None and start + len(window) < len(tokens):
            documents = np.flatnonzero(window == begin_of_text)
            if len(documents) and documents[-1] > 0:
                window = window[: documents[-1] + 1]
        row = np.full((2, context_length), IGNORED)
        row[0] = 0
        row[0, : len(window) - 1] = window[:-1]
        row[1, : len(window) - 1] = window[1:]
        row[1, : scored_to - start - 1] = IGNORED
        scored_to = start + len(window)
        start += stride or len(window) - 1
        rows.append(row)
        if len(rows) == batch_size or scored_to == len(tokens):
            stacked = torch.from_numpy(np.stack(rows, 1))
            yield stacked[0], stacked[1]
            rows = []


def inputs_and_targets(windows: Ids) -> tuple[Tensor, Tensor]:
    """Windows (B T+1) as what the model reads and what it is to say next (B T each)."""
    whole = torch.from_numpy(windows.astype(np.int64))
    return whole[:, :-1], whole[:, 1:]
