"""Tokens on disk: memory-mapped shards beside a manifest, made once for each pair of text and tokenizer."""

import hashlib
import json
import os
import shutil
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import accumulate, chain
from pathlib import Path
from typing import Literal

import numpy as np

from minigpt.data.files import DATA_REMEDY, Split, make_folder
from minigpt.data.progress import bar
from minigpt.data.shards import MANIFEST, Ids, Manifest, Shard, ShardWriter, open_shards, read_manifest
from minigpt.data.sources import Piece, Source
from minigpt.errors import UserError, warn
from minigpt.storage.checksums import sealed
from minigpt.storage.writing import beside, room_for, write_through
from minigpt.tokenizers import TokenIds, Tokenizer, build_tokenizer, load_tokenizer

FORMAT = 2
GROUP = 2**16
"""Characters that are worth a task of their own."""
GROUPS_IN_FLIGHT = 2 * (os.cpu_count() or 1)


class TokenStream:
    """One long row of token ids, in memory-mapped files; `stream[a:b]` reads only what it gives."""

    def __init__(self, shards: list[Ids], start: int = 0, stop: int | None = None) -> None:
        self._shards = shards
        self._ends = list(accumulate(len(shard) for shard in shards))
        self._start = start
        self._stop = stop if stop is not None else (self._ends[-1] if shards else 0)

    def __len__(self) -> int:
        return self._stop - self._start

    def __getitem__(self, place: slice) -> Ids:
        start, stop, _ = place.indices(len(self))
        start, stop = start + self._start, stop + self._start
        parts: list[Ids] = []
        while start < stop:
            shard = bisect_right(self._ends, start)
            first = self._ends[shard] - len(self._shards[shard])
            parts.append(self._shards[shard][start - first : stop - first])
            start += len(parts[-1])
        return np.concatenate(parts) if parts else np.empty(0, np.uint16)

    def part(self, start: int, stop: int) -> "TokenStream":
        """The stream from `start` to `stop - 1`, without copying."""
        return TokenStream(self._shards, self._start + start, self._start + stop)


@dataclass(frozen=True)
class Tokens:
    """A prepared corpus; `reused` tells whether it was there already."""

    train: TokenStream
    validation: TokenStream
    reused: bool


def prepare_tokenizer(source: Source, kind: str, vocab_size: int, directory: Path) -> Tokenizer:
    """A tokenizer learned from the source's training text (character: from all of it), kept for the next time."""
    key = hashlib.sha256(json.dumps([FORMAT, source.fingerprint, kind, vocab_size]).encode()).hexdigest()[:16]
    path = directory / "prepared" / "tokenizers" / f"{key}.json"
    if path.exists():
        try:
            return load_tokenizer(path)
        except UserError:
            warn(f"{path}: damaged; learned anew")
    splits: list[Split] = ["train", "validation"] if kind == "character" and source.has_validation else ["train"]
    read = _with_progress(chain.from_iterable(map(source.pieces, splits)), f"learning from {source.description}")
    tokenizer = build_tokenizer(kind, vocab_size, (piece.text for piece in read))
    source.check()
    make_folder(path.parent, "data.directory")
    tokenizer.save(path)
    return tokenizer


def prepare_tokens(source: Source, tokenizer: Tokenizer, validation_fraction: float, directory: Path) -> Tokens:
    """The source's tokens on disk, encoded now or found from an earlier time; the validation part cut off its end."""
    key = hashlib.sha256(f"{FORMAT} {source.fingerprint} {tokenizer.fingerprint}".encode()).hexdigest()[:16]
    folder = directory / "prepared" / key
    manifest = read_manifest(folder)
    reused = manifest is not None
    manifest = manifest or _encode_all(source, tokenizer, folder)
    train = TokenStream(open_shards(folder, manifest, "train"))
    if source.has_validation:
        validation = TokenStream(open_shards(folder, manifest, "validation"))
    else:
        cut = validation_start(train, validation_fraction, tokenizer.begin_of_text)
        train, validation = train.part(0, cut), train.part(cut, len(train))
    if len(validation) < 2:
        raise UserError(
            f"data.source = {source.description}: its validation part has {len(validation)} tokens and needs 2; "
            f"give a longer {'one' if source.has_validation else 'text or a larger data.validation_fraction'}"
        )
    return Tokens(train, validation, reused)


def validation_start(tokens: TokenStream, fraction: float, begin_of_text: int) -> int:
    """Where the validation part begins: with the begin-of-text before a document, if one is within a tenth of it."""
    cut = len(tokens) - max(1, round(len(tokens) * fraction))
    reach = min((len(tokens) - cut) // 10, 2**20)
    boundaries = np.flatnonzero(tokens[max(0, cut - reach) : cut + reach] == begin_of_text) + max(0, cut - reach)
    return int(boundaries[np.abs(boundaries - cut).argmin()]) if len(boundaries) else cut


def _encode_all(source: Source, tokenizer: Tokenizer, folder: Path) -> Manifest:
    """Fill `folder`: written beside its place and renamed when whole, so that nothing half-made is ever used."""
    make_folder(folder.parent, "data.directory")
    shutil.rmtree(folder, ignore_errors=True)  # what is damaged
    dtype: Literal["uint16", "uint32"] = "uint16" if tokenizer.vocab_size <= 2**16 else "uint32"
    splits: list[Split] = ["train", "validation"] if source.has_validation else ["train"]
    with room_for(folder.parent, DATA_REMEDY), beside(folder) as partial:
        partial.mkdir()
        shards: dict[Split, list[Shard]] = {}
        for split in splits:
            with ShardWriter(partial, split, np.dtype(dtype)) as writer:
                read = _with_progress(source.pieces(split), f"encoding {source.description}")
                for ids in encoded(read, tokenizer):
                    writer.write(ids)
            shards[split] = writer.shards
        source.check()
        manifest = Manifest(FORMAT, source.description, dtype, shards)
        write_through(partial / MANIFEST, sealed(asdict(manifest)))
        if read_manifest(folder) is None:  # else another process was faster
            partial.rename(folder)
        return manifest


def encoded(pieces: Iterable[Piece], tokenizer: Tokenizer) -> Iterator[TokenIds]:
    """The ids of the pieces in order, end-of-text between documents; encoded in threads, a bounded number ahead.

    Where begin-of-text is another token, each document begins with it.
    """
    begin = np.array([tokenizer.begin_of_text], np.uint32)
    between = np.array(list(dict.fromkeys((tokenizer.end_of_text, tokenizer.begin_of_text))), np.uint32)
    if len(between) > 1:
        yield begin

    def encode(group: list[tuple[str, bool]]) -> TokenIds:
        return np.concatenate(
            [ids for text, begins in group for ids in (between[: 2 * begins], tokenizer.encode(text))]
        )

    waiting: deque[Future[TokenIds]] = deque()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for group in _grouped(pieces):
            waiting.append(pool.submit(encode, group))
            if len(waiting) > GROUPS_IN_FLIGHT:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _grouped(pieces: Iterable[Piece]) -> Iterator[list[tuple[str, bool]]]:
    """The texts, small ones together, and of each whether another document ended right before it."""
    group: list[tuple[str, bool]] = []
    begins, size = False, 0
    for piece in pieces:
        group.append((piece.text, begins))
        begins, size = piece.ends_document, size + len(piece.text)
        if size >= GROUP:
            yield group
            group, size = [], 0
    if group:
        yield group


def _with_progress(pieces: Iterable[Piece], what: str) -> Iterator[Piece]:
    """The same pieces, their size shown on standard error where it takes more than a moment."""
    with bar(desc=what, unit="B", unit_scale=True, delay=1.0, leave=False) as shown:
        for piece in pieces:
            yield piece
            shown.update(len(piece.text))
