import json
import os
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minigpt.config.hyperparameters import DataConfig
from minigpt.data import shards
from minigpt.data.batches import IGNORED, Batches, begins_with_documents, evaluation_windows
from minigpt.data.sources import Source, open_source
from minigpt.data.tokens import TokenStream, prepare_tokenizer, prepare_tokens
from minigpt.errors import UserError
from minigpt.tokenizers import build_tokenizer

BYTE = build_tokenizer("byte", 257, [])
NEVER = 10**6
"""An end-of-text that a stream does not have."""


def source(texts: list[str], validation: list[str] | None = None) -> Source:
    splits = {"train": texts, "validation": validation or []}
    return Source(
        "test", "".join(texts).encode().hex(), validation is not None, lambda split: ([t] for t in splits[split])
    )


def stream(n: int) -> TokenStream:
    return TokenStream([np.arange(n, dtype=np.uint32)])


def test_documents_are_separated_by_end_of_text_and_not_followed_by_it(tmp_path: Path) -> None:
    prepared = prepare_tokens(source(["ab", "c", "d"]), BYTE, 0.3, tmp_path)
    whole = [*prepared.train[:], *prepared.validation[:]]
    assert whole == [97, 98, 256, 99, 256, 100]
    assert len(prepared.validation[:]) == 2
    alone = prepare_tokens(source(["abcdefghij"]), BYTE, 0.3, tmp_path)
    assert bytes(alone.train[:].astype(np.uint8)) == b"abcdefg"


def test_validation_begins_with_a_document_where_one_begins_near(tmp_path: Path) -> None:
    prepared = prepare_tokens(source([f"document {i}" for i in range(500)]), BYTE, 0.2, tmp_path)
    assert prepared.validation[:][0] == BYTE.end_of_text
    assert BYTE.decode(prepared.validation[:].tolist()).startswith("document")
    assert prepared.train[:][-1] != BYTE.end_of_text
    share = len(prepared.validation) / (len(prepared.train) + len(prepared.validation))
    assert share == pytest.approx(0.2, abs=0.02)


def test_a_split_of_its_own_is_the_validation_part(tmp_path: Path) -> None:
    prepared = prepare_tokens(source(["train"], ["valid"]), BYTE, 0.5, tmp_path)
    assert [BYTE.decode(part[:].tolist()) for part in (prepared.train, prepared.validation)] == ["train", "valid"]


def test_the_largest_id_of_a_large_vocabulary_comes_back(tmp_path: Path) -> None:
    large: Any = SimpleNamespace(vocab_size=2**16 + 1, end_of_text=0, begin_of_text=0, fingerprint="large")
    large.encode = lambda _text: np.full(4, 2**16, np.uint32)
    assert prepare_tokens(source(["text"]), large, 0.5, tmp_path).train[:].tolist() == [2**16] * 2


def test_prepared_tokens_are_used_again_until_text_or_tokenizer_change(tmp_path: Path) -> None:
    assert [prepare_tokens(source([text]), BYTE, 0.5, tmp_path).reused for text in ("aaaa", "aaaa", "bbbb")] == [
        False,
        True,
        False,
    ]
    words = build_tokenizer("word", 300, ["aa aa aa"])
    assert not prepare_tokens(source(["aaaa"]), words, 0.5, tmp_path).reused


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place % len(content)] ^= 1
    path.write_bytes(content)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut": lambda path: path.write_bytes(path.read_bytes()[:-2]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": Path.unlink,
    **{f"flipped at {place}": partial(flip, place=place) for place in (0, 1, 7, 60, 100, -3)},
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("name", ["train-00000.bin", "manifest.json"])
def test_damaged_tokens_are_prepared_anew(
    name: str, damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare_tokens(source(["abcdef"]), BYTE, 0.5, tmp_path)
    (folder,) = (tmp_path / "prepared").iterdir()
    DAMAGES[damage](folder / name)
    again = prepare_tokens(source(["abcdef"]), BYTE, 0.5, tmp_path)
    assert not again.reused
    assert bytes(again.train[:].astype(np.uint8)) == b"abc"
    assert ("prepared anew" in capsys.readouterr().err) == ((name, damage) != ("manifest.json", "gone"))


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_tokenizer_is_learned_anew(damage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = prepare_tokenizer(source(["some text some text"]), "bpe", 300, tmp_path)
    (path,) = (tmp_path / "prepared" / "tokenizers").iterdir()
    DAMAGES[damage](path)
    assert prepare_tokenizer(source(["some text some text"]), "bpe", 300, tmp_path).token_bytes == first.token_bytes
    assert ("learned anew" in capsys.readouterr().err) == (damage != "gone")


def test_an_interrupted_preparation_leaves_nothing(tmp_path: Path) -> None:
    def documents(_split: str) -> Iterator[list[str]]:
        yield ["first"]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_tokens(Source("x", "x", False, documents), BYTE, 0.1, tmp_path)
    assert list((tmp_path / "prepared").iterdir()) == []


@pytest.mark.parametrize("limit", [None, 1])
def test_of_a_text_that_changes_while_it_is_read_nothing_is_kept(limit: int | None, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("before")
    changing = open_source(DataConfig(source=str(text), max_documents=limit))
    text.write_text("afterwards")
    for prepare in (partial(prepare_tokens, changing, BYTE, 0.5), partial(prepare_tokenizer, changing, "bpe", 300)):
        with pytest.raises(UserError, match=r"text\.txt.*: was changed while it was read; run the command again"):
            prepare(tmp_path)
    assert list(tmp_path.glob("prepared/*")) == []


def test_what_a_killed_preparation_left_is_removed(tmp_path: Path) -> None:
    prepare_tokens(source(["abcd"]), BYTE, 0.5, tmp_path)
    (folder,) = (tmp_path / "prepared").iterdir()
    for process in (999_999_999, os.getpid()):  # that of a container is often the same
        folder.rename(folder.with_name(f".partial-{folder.name}-{socket.gethostname()}-{process}"))
        prepare_tokens(source(["abcd"]), BYTE, 0.5, tmp_path)
        assert [path.name for path in (tmp_path / "prepared").iterdir()] == [folder.name]


def test_prepared_tokens_are_flushed_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[os.stat_result] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor)))
    prepare_tokens(source(["train"], ["valid"]), BYTE, 0.5, tmp_path)
    files = [path.stat() for path in (tmp_path / "prepared").glob("*/*")]
    assert len(files) == 3
    assert {(file.st_ino, file.st_size) for file in files} <= {(file.st_ino, file.st_size) for file in flushed}


def test_a_stream_over_many_shards_is_the_stream_over_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD_TOKENS", 7)
    text = "abcdefghijklmnopqrstuvwxyz" * 2
    prepared = prepare_tokens(source([text]), BYTE, 0.1, tmp_path)
    expected = np.frombuffer(text.encode(), np.uint8)[: len(prepared.train)]
    assert len(list((tmp_path / "prepared").glob("*/train-*.bin"))) == 8
    for start, stop in ((0, 5), (5, 20), (7, 14), (0, 99), (13, 13)):
        assert prepared.train[start:stop].tolist() == expected[start:stop].tolist()


def test_a_tokenizer_is_learned_once(tmp_path: Path) -> None:
    first = prepare_tokenizer(source(["some text some text"]), "bpe", 300, tmp_path)
    (path,) = (tmp_path / "prepared" / "tokenizers").iterdir()
    before = path.stat().st_mtime_ns
    assert prepare_tokenizer(source(["some text some text"]), "bpe", 300, tmp_path).fingerprint == first.fingerprint
    assert path.stat().st_mtime_ns == before


def test_characters_of_the_validation_split_are_in_the_alphabet(tmp_path: Path) -> None:
    tokenizer = prepare_tokenizer(source(["abc"], ["xyz"]), "character", 300, tmp_path)
    assert tokenizer.decode(tokenizer.encode("axz").tolist()) == "axz"


@pytest.mark.parametrize("kind", ["bpe", "word"])
def test_words_of_the_validation_split_are_not_learned(kind: str, tmp_path: Path) -> None:
    tokenizer = prepare_tokenizer(source(["ab ab ab"], ["xy xy xy"]), kind, 300, tmp_path)
    assert [any(word in token for token in tokenizer.token_bytes) for word in (b"ab", b"xy")] == [True, False]


def test_targets_are_the_next_tokens_and_an_epoch_sees_every_window_once() -> None:
    batches = Batches(stream(1000), 10, 4, 1, NEVER)
    seen: Counter[int] = Counter()
    for row in range(0, batches.windows_per_epoch // 4 * 4, 4):
        inputs, targets = batches.batch(row)
        assert inputs.shape == targets.shape == (4, 10)
        assert torch.equal(inputs + 1, targets)
        seen.update(inputs[:, 0].tolist())
    assert set(seen.values()) == {1}
    assert len({start % 10 for start in seen}) == 1


def test_batches_depend_on_seed_and_index_alone() -> None:
    first, second = Batches(stream(1000), 10, 4, 1, NEVER), Batches(stream(1000), 10, 4, 1, NEVER)
    first.batch(3)
    assert torch.equal(first.batch(57)[0], second.batch(57)[0])
    assert not torch.equal(first.batch(57)[0], Batches(stream(1000), 10, 4, 2, NEVER).batch(57)[0])
    assert not torch.equal(first.batch(0)[0], first.batch(first.windows_per_epoch)[0])


def test_rows_are_the_same_in_batches_of_any_size() -> None:
    rows = torch.cat([Batches(stream(100), 10, 4, 1, NEVER).batch(row)[0] for row in range(0, 36, 4)])
    mixed = [Batches(stream(100), 10, size, 1, NEVER).batch(row)[0] for row, size in ((0, 8), (8, 4), (12, 24))]
    assert torch.equal(torch.cat(mixed), rows)


def test_the_rows_of_two_processes_are_the_batch_of_one() -> None:
    whole = Batches(stream(1000), 10, 4, 1, NEVER).batch(5)[0]
    parts = [Batches(stream(1000), 10, 4, 1, NEVER, rank, world_size=2).batch(5)[0] for rank in (0, 1)]
    assert torch.equal(torch.cat(parts), whole)


def test_a_short_text_still_gives_whole_batches() -> None:
    inputs, targets = Batches(stream(15), 10, 8, 0, NEVER).batch(0)
    assert inputs.shape == (8, 10)
    assert torch.equal(inputs + 1, targets)


def documents(*lengths: int) -> TokenStream:
    """End-of-text (0) and so many tokens, document after document; each token is its document's number."""
    ids = [token for number, length in enumerate(lengths, 1) for token in [0, *[number] * length]]
    return TokenStream([np.array(ids, np.uint16)])


def test_training_windows_begin_with_a_document_where_one_begins_soon() -> None:
    short = Batches(documents(*[7] * 200), 16, 8, 1, begin_of_text=0)
    assert all((short.batch(row)[0][:, 0] == 0).all() for row in range(short.windows_per_epoch))
    long = Batches(documents(*[500] * 5), 16, 8, 1, begin_of_text=0)
    first = torch.cat([long.batch(row)[0] for row in range(0, long.windows_per_epoch // 8 * 8, 8)])
    assert 0 < (first[:, 0] == 0).sum() <= 5
    assert ((first == 0).sum(1) == (first[:, 0] == 0)).all()  # nowhere else


@pytest.mark.parametrize(("context_length", "first"), [(9, 1), (10, 0)])
def test_a_window_moves_on_as_far_as_to_the_next_window(context_length: int, first: int) -> None:
    batches = Batches(documents(10, 30), context_length, 1, 1, begin_of_text=0)
    assert batches._window(1)[0] == first


def test_windows_begin_with_documents_where_these_are_no_longer() -> None:
    found = [begins_with_documents(documents(*[15] * 9), length, begin_of_text=0) for length in (15, 16)]
    assert found == [False, True]


def test_evaluation_windows_begin_with_a_document_where_one_begins() -> None:
    windows = [inputs[0] for inputs, _ in evaluation_windows(documents(5, 5, 30, 5), 16, 1, begin_of_text=0)]
    scored = [int((targets != IGNORED).sum()) for _, targets in evaluation_windows(documents(5, 5, 30, 5), 16, 1, 0)]
    assert [int(window[0]) for window in windows] == [0, 0, 3, 0]
    assert scored == [12, 16, 15, 5]


@given(st.integers(2, 200), st.integers(1, 20), st.integers(1, 5), st.data())
def test_every_token_but_the_first_is_scored_exactly_once(n: int, length: int, batch_size: int, data: Any) -> None:
    stride = data.draw(st.none() | st.integers(1, length))
    scored: Counter[int] = Counter()
    end_of_text = data.draw(st.integers(0, n) | st.just(NEVER))
    for inputs, targets in evaluation_windows(stream(n), length, batch_size, end_of_text, stride):
        assert len(inputs) <= batch_size
        scored.update(targets[targets != IGNORED].tolist())
        assert torch.equal(inputs[targets != IGNORED] + 1, targets[targets != IGNORED])
    assert scored == Counter(range(1, n))


def test_with_a_stride_every_token_has_a_long_past() -> None:
    for number, (_, targets) in enumerate(evaluation_windows(stream(100), 20, 1, NEVER, stride=5)):
        assert number == 0 or bool((targets[0, :15] == IGNORED).all())


def test_the_manifest_says_what_the_tokens_are_of(tmp_path: Path) -> None:
    prepare_tokens(source(["abcd"]), BYTE, 0.5, tmp_path)
    (path,) = (tmp_path / "prepared").glob("*/manifest.json")
    manifest = json.loads(path.read_text())
    assert (manifest["format"], manifest["text"], manifest["dtype"]) == (2, "test", "uint16")
    assert [(shard["file"], shard["tokens"]) for shard in manifest["splits"]["train"]] == [("train-00000.bin", 4)]
