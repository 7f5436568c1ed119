"""Whatever stands in a file, a change or a request, it is read or told: a value or a UserError, and nothing else.

A few inputs here; 100,000 with `make faults`, which says how long the slowest took and how much memory they added.
"""

import bz2
import gzip
import io
import json
import lzma
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from conftest import RECIPE
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyarrow import parquet
from starlette.testclient import TestClient

from minigpt.config.recipe import load_recipe
from minigpt.data.readers import read_documents
from minigpt.data.records import Reading
from minigpt.data.shards import open_shards, read_manifest
from minigpt.errors import UserError
from minigpt.experiments.compare import compare
from minigpt.experiments.report import write_report
from minigpt.experiments.search import load_search
from minigpt.optimizers import make_optimizers
from minigpt.runs import METADATA, STATE, WEIGHTS, RunFolder, load_run
from minigpt.serving.live import make_app
from minigpt.storage.checksums import KEY, checksum, sealed
from minigpt.training.checkpoint import load_checkpoint

resource = pytest.importorskip("resource", reason="what forks and memory are measured with")
from forked import ALL  # noqa: E402

INPUTS = 5_000 if ALL else 10
"""For each reader."""
Strategy = st.SearchStrategy["bytes | Damaged"]
Reader = tuple[Callable[[bytes], object], Strategy]
"""What reads, and what it is given."""

SEARCH = RECIPE.parent / "sweeps" / "stories.yaml"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.just(10**400),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=8,
)


@dataclass(frozen=True)
class Damaged:
    """A valid content, in which some bytes are others, more or fewer."""

    valid: Callable[[], bytes]
    """A function, as hypothesis writes out what is none."""
    edits: list[tuple[float, int, bytes]]
    """Where, as a share of it, how many bytes go, and what comes."""

    def __bytes__(self) -> bytes:
        content = bytearray(self.valid())
        for place, n_bytes, new in self.edits:
            at = int(place * len(content))
            content[at : at + n_bytes] = new
        return bytes(content)


def damaged(valid: bytes) -> Strategy:
    """Of a valid content; or any bytes."""
    edit = st.tuples(st.floats(0, 1), st.integers(0, 8), st.binary(max_size=8))
    edited = st.lists(edit, min_size=1, max_size=4).map(lambda edits: Damaged(lambda: valid, edits))
    return st.one_of(*[edited] * 9, st.binary(max_size=200))


@st.composite
def forged(draw: st.DrawFn, valid: dict[str, Any]) -> bytes:
    """A JSON document in which some values are others, or away, under a checksum that is right."""
    document = json.loads(json.dumps({key: value for key, value in valid.items() if key != KEY}))
    for _ in range(draw(st.integers(1, 3))):
        place: Any = document
        while True:
            key = draw(st.sampled_from(list(place) if isinstance(place, dict) else range(len(place))))
            inner = place[key]
            if not isinstance(inner, dict | list) or not inner or draw(st.booleans()):
                break
            place = inner
        if isinstance(place, dict) and draw(st.booleans()):
            del place[key]
        else:
            place[key] = draw(JSON)
        if not document:
            break
    return json.dumps({**document, KEY: checksum(json.dumps(document, sort_keys=True).encode())}).encode()


def either(valid: bytes) -> Strategy:
    """Damaged as bytes or forged as a document."""
    return damaged(valid) | forged(json.loads(valid))


def changes() -> Strategy:
    """Of a recipe: a key that there is, or not, and any text."""
    keys = [
        f"{name}.{key}"
        for name, part in load_recipe(RECIPE).model_dump().items()
        if isinstance(part, dict)
        for key in part
    ]
    values = st.text(max_size=30) | JSON.map(json.dumps)
    return st.tuples(st.sampled_from(keys) | st.text(max_size=9), values).map(lambda pair: "=".join(pair).encode())


class Place:
    """Two copies of a run, whose files are changed and put back."""

    def __init__(self, run: Path, path: Path) -> None:
        self.path = path
        self.folder = RunFolder(path / "run")
        for name in ("run", "other"):
            shutil.copytree(run, path / name)
        prepared = next(run.parents[1].glob("data/prepared/*/manifest.json")).parent
        shutil.copytree(prepared, path / "prepared")
        self.checkpoint = self.folder.checkpoint(12)
        self.metadata = json.loads((self.checkpoint / METADATA).read_bytes())
        self.client = TestClient(make_app(path / "other", "last", "A cat"), base_url="http://127.0.0.1:8000")
        loaded = load_run(self.folder.path, "12")
        self.model, self.optimizers = loaded.model, make_optimizers(loaded.model, loaded.config, torch.float32)

    def reading(self, name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
        """What reads a file with a content, and leaves it as it was."""
        path = self.path / name
        valid = path.read_bytes() if path.exists() else b""

        def reader(content: bytes) -> object:
            path.write_bytes(content)
            try:
                return read(path)
            finally:
                path.write_bytes(valid)

        return reader

    def of_checkpoint(self, name: str, read: Callable[[Path], object]) -> Reader:
        """The same for a file of a checkpoint, whose checksum is right: what is refused is refused for what it is."""
        path = f"run/checkpoints/step-00000012/{name}"
        reader = self.reading(path, read)

        def known(content: bytes) -> object:
            document = {key: value for key, value in self.metadata.items() if key != KEY}
            document["files"] = {**document["files"], name: checksum(content)}
            return self.reading(f"run/checkpoints/step-00000012/{METADATA}", lambda _: reader(content))(
                sealed(document)
            )

        return known, damaged((self.path / path).read_bytes())

    def documents(self, name: str, valid: bytes) -> Reader:
        """Of a text in some format."""

        def read(path: Path) -> object:
            return ["".join(document) for document in read_documents(path, Reading("meta.text", "|", skip_empty=True))]

        return self.reading(name, read), damaged(valid)

    def run_file(self, name: str) -> Reader:
        """One that every command reads."""
        return self.reading(f"run/{name}", lambda _: use(self.folder)), either((self.path / "run" / name).read_bytes())

    def post(self, content: bytes) -> None:
        """A request to the live page."""
        assert self.client.post("/data", content=content).status_code in (200, 400, 413)


def use(folder: RunFolder) -> None:
    """Everything that is done with a run without training it."""
    run = load_run(folder.path, "last")
    run.tokenizer.decode(run.tokenizer.encode("A cat sat."))
    compare([folder.path, folder.path.with_name("other")])
    write_report(folder)


def tokens(folder: Path) -> object:
    """Of prepared data."""
    manifest = read_manifest(folder)
    return manifest and [open_shards(folder, manifest, split) for split in manifest.splits]


def tables() -> tuple[bytes, bytes]:
    """Records as lines of JSON and as a Parquet file."""
    records: list[dict[str, Any]] = [{"meta": {"text": text}} for text in ("a é", None, "b" * 40)]
    file = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(records), file)
    return b"\n".join(json.dumps(record).encode() for record in records), file.getvalue()


LINES, PARQUET = tables()
READERS: dict[str, Callable[[Place], Reader]] = {
    "recipe": lambda place: (place.reading("recipe.yaml", load_recipe), damaged(RECIPE.read_bytes())),
    "changes": lambda _: (lambda content: load_recipe(RECIPE, [content.decode()]), changes()),
    "manifest": lambda place: (
        place.reading("prepared/manifest.json", lambda _: tokens(place.path / "prepared")),
        either((place.path / "prepared/manifest.json").read_bytes()),
    ),
    "search": lambda place: (place.reading("search.yaml", load_search), damaged(SEARCH.read_bytes())),
    "config.yaml": lambda place: (
        place.reading("run/config.yaml", lambda _: use(place.folder)),
        damaged(place.folder.config.read_bytes()),
    ),
    "tokenizer": lambda place: place.run_file("tokenizer.json"),
    "index": lambda place: place.run_file("checkpoints/index.json"),
    "metadata": lambda place: place.run_file(f"checkpoints/step-00000012/{METADATA}"),
    "metrics": lambda place: (
        place.reading("run/metrics.jsonl", lambda _: use(place.folder)),
        metrics(place.folder.metrics.read_bytes()),
    ),
    "weights": lambda place: place.of_checkpoint(WEIGHTS, lambda _: use(place.folder)),
    "state": lambda place: place.of_checkpoint(
        STATE, lambda _: load_checkpoint(place.folder, place.model, place.optimizers, 12)
    ),
    "text": lambda place: place.documents("a.txt", b"\xef\xbb\xbfone|two \xc3\xa9|\n\n|"),
    "jsonl": lambda place: place.documents("a.jsonl", LINES),
    "json": lambda place: place.documents("a.json", b"[" + LINES.replace(b"\n", b",") + b"]"),
    "csv": lambda place: place.documents("a.csv", b'meta.text,b\n"one, ""two""",3\nthree,4\n'),
    "parquet": lambda place: place.documents("a.parquet", PARQUET),
    "gz": lambda place: place.documents("a.txt.gz", gzip.compress(LINES)),
    "xz": lambda place: place.documents("a.txt.xz", lzma.compress(LINES)),
    "bz2": lambda place: place.documents("a.txt.bz2", bz2.compress(LINES)),
    "zst": lambda place: place.documents("a.txt.zst", bytes(pa.compress(LINES, "zstd", asbytes=True))),
    "request": lambda place: (
        place.post,
        damaged(b'{"prompt": "A cat", "step": 12}') | JSON.map(lambda prompt: json.dumps({"prompt": prompt}).encode()),
    ),
}


def metrics(valid: bytes) -> Strategy:
    """A metrics file that is damaged, or whose first line is forged."""
    first, rest = valid.split(b"\n", 1)
    return damaged(valid) | forged(json.loads(first)).map(lambda line: line + b"\n" + rest)


@pytest.mark.parametrize("name", READERS)
def test_what_is_read_is_right_or_told(name: str, run: Path, tmp_path: Path) -> None:
    read, contents = READERS[name](Place(run, tmp_path))
    slowest, before, told = 0.0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0

    @settings(max_examples=INPUTS, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(contents)
    def try_out(content: bytes | Damaged) -> None:
        nonlocal slowest, told
        began = time.process_time()
        try:
            read(bytes(content))
        except UserError:
            told += 1
        slowest = max(slowest, time.process_time() - began)

    try_out()
    added = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"{name}: {told} of {INPUTS} told, the slowest in {slowest:.2f} s, {added:.0f} MB added")  # noqa: T201
