"""`benchmark.py prepare`: from text to tokens on disk."""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from benchmarks.workbench import (
    CONFIGS,
    MEGABYTE,
    JsonOption,
    RepeatsOption,
    TextOption,
    in_new_process,
    peak_megabytes,
    report,
    run_minigpt,
)


def prepare(
    text: TextOption = None,
    megabytes: Annotated[int, typer.Option(min=1, help="Size of the text, which FILE is repeated to.")] = 1000,
    vocab_size: Annotated[int, typer.Option(min=257, help="Size of the BPE vocabulary.")] = 4096,
    repeats: RepeatsOption = 3,
    as_json: JsonOption = False,
) -> None:
    """Seconds from a text to BPE tokens on disk, beside tiktoken's own encoding of it on all cores; peak memory."""
    sides: dict[str, Callable[..., None]] = {"tiktoken": _encode_with_tiktoken, "minigpt": _prepare}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    memory: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as place:
        small, large, tokenizer = (Path(place) / name for name in ("small.txt", "large.txt", "tokenizer.json"))
        _write_text(small, text, min(10, megabytes))
        _write_text(large, text or small, megabytes)
        _in_new_process(_learn, small, tokenizer, vocab_size)
        for _ in range(repeats):
            for side, work in sides.items():
                taken, memory[side] = _in_new_process(work, large, tokenizer)
                seconds[side].append(taken)
        memory["minigpt, 10 MB"] = _in_new_process(_prepare, small, tokenizer)[1]
        _start_up(small, Path(place))  # prepares
        start_up = median(_start_up(small, Path(place)) for _ in range(repeats))
    medians = {side: median(taken) for side, taken in seconds.items()}
    document = {
        "megabytes": megabytes,
        "ratio": medians["minigpt"] / medians["tiktoken"],
        "target": 1.15,
        "seconds": medians,
        "memory_megabytes": memory,
        "more_memory_than_for_10_megabytes": memory["minigpt"] - memory["minigpt, 10 MB"],
        "start_up_seconds": start_up,
    }
    rows = [[side, f"{medians[side]:.1f}", f"{memory[side]:,.0f}"] for side in sides]
    rows.append(["minigpt, 10 MB", "", f"{memory['minigpt, 10 MB']:,.0f}"])
    last = f"ratio {document['ratio']:.3f}; a run of one step on prepared data takes {start_up:.1f} s"
    report(document, [f"{megabytes:,} MB", "seconds", "peak MB"], rows, last, as_json)


def _start_up(text: Path, place: Path) -> float:
    """Seconds that a run of one step takes on data that are prepared, imports and last evaluation included."""
    changes = [f"data.source={text}", f"data.directory={place}/data", f"run.directory={place}/run"]
    changes += ["training.max_minutes=null", "training.max_steps=1", "training.evaluation_tokens=1000"]
    changes += ["run.compile=false", "sampling.max_new_tokens=1"]
    begin = time.perf_counter()
    run_minigpt("train", CONFIGS / "shakespeare.yaml", "--overwrite", *changes)
    return time.perf_counter() - begin


def _write_text(path: Path, text: Path | None, megabytes: int) -> None:
    """A text of a size, of the lines of `text` or of built-in stories, again and again."""
    if text is None:
        from minigpt.data import stories

        content = "\n".join(stories.generate(5_000, seed=0)).encode()
    else:
        content = text.read_bytes() + b"\n"
    with path.open("wb") as file:
        for _ in range(megabytes * MEGABYTE // len(content) + 1):
            file.write(content)


def _in_new_process(work: Callable[..., None], *arguments: object) -> tuple[float, float]:
    """Seconds that `work` takes in a process of its own, and that process's peak memory in MB."""
    return in_new_process(_measured, work, *arguments, imports="minigpt.data.tokens")


def _measured(work: Callable[..., None], *arguments: object) -> tuple[float, float]:
    begin = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - begin, peak_megabytes()


def _learn(text: Path, tokenizer: Path, vocab_size: int) -> None:
    from minigpt.tokenizers import build_tokenizer

    build_tokenizer("bpe", vocab_size, [text.read_text(encoding="utf-8")]).save(tokenizer)


def _encode_with_tiktoken(text: Path, tokenizer: Path) -> None:
    """What tiktoken does by itself: the documents (here paragraphs of about a megabyte) as one batch of lists."""
    from minigpt.data.readers import read_documents
    from minigpt.data.records import Reading
    from minigpt.data.sources import cut
    from minigpt.tokenizers import load_tokenizer
    from minigpt.tokenizers.bpe import BytePairTokenizer

    learned = load_tokenizer(tokenizer)
    assert isinstance(learned, BytePairTokenizer)
    pieces = [piece.text for document in read_documents(text, Reading()) for piece in cut(document)]
    learned.encoding.encode_ordinary_batch(pieces, num_threads=os.cpu_count() or 1)


def _prepare(text: Path, tokenizer: Path) -> None:
    """What `minigpt train` does with a text before it trains, its tokenizer being there."""
    from minigpt.config.hyperparameters import DataConfig
    from minigpt.data.sources import open_source
    from minigpt.data.tokens import prepare_tokens
    from minigpt.tokenizers import load_tokenizer

    with tempfile.TemporaryDirectory(dir=text.parent) as place:
        prepare_tokens(open_source(DataConfig(source=str(text))), load_tokenizer(tokenizer), 0.1, Path(place))
