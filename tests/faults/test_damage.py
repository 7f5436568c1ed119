"""A damaged file of a run, of prepared data or of a download is told, made anew, or without effect, and never used.

Some places of each file here; many with `make faults`.
"""

import io
import json
import os
import random
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from conftest import RECIPE, TINY

pytest.importorskip("resource", reason="what is tried is a fork of this process")
from forked import ALL, forked

from minigpt.data import download, sources
from minigpt.data.stories import generate

PLACES = 84
"""At which each file is cut and flipped."""
SOME = 1
"""Of these damages to each file."""
FILES = (
    "runs/tiny/config.yaml",
    "runs/tiny/tokenizer.json",
    "runs/tiny/metrics.jsonl",
    "runs/tiny/checkpoints/index.json",
    "runs/tiny/checkpoints/step-00000012/model.safetensors",
    "runs/tiny/checkpoints/step-00000012/training_state.pt",
    "runs/tiny/checkpoints/step-00000012/metadata.json",
    "data/prepared/*/train-00000.bin",
    "data/prepared/*/manifest.json",
    "data/prepared/tokenizers/*.json",
    "data/downloads/*.jsonl",
    "data/downloads/*.manifest",
)
COMMANDS: list[list[object]] = [
    ["sample", "runs/tiny", "--seed", "1", "--max-new-tokens", "20", "--checkpoint", "last"],
    ["evaluate", "runs/tiny", "--checkpoint", "last"],
    ["compare", "runs/tiny", "runs/other", "--no-open"],
    ["train", "--resume", "runs/tiny", "training.max_steps=14"],
]


class Answer(io.BytesIO):
    """What comes from an address."""

    headers: dict[str, str] = {}  # noqa: RUF012

    def geturl(self) -> str:
        return "https://x/y.jsonl"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with two runs and the text that they fetched."""
    place = tmp_path_factory.mktemp("damage")
    text = b"".join(json.dumps({"text": text}).encode() + b"\n" for text in generate(100, 1))
    with pytest.MonkeyPatch.context() as patch:
        fetch = partial(download.download, opener=lambda *_, **__: Answer(text))
        patch.setattr(sources, "download", fetch)
        for name in ("tiny", "other"):
            done = forked("train", RECIPE, *TINY, "data.source=https://x/y.jsonl", f"run.name={name}", cwd=place)
            assert done.status == 0, done.errors
        yield place


def results(place: Path) -> Iterator[tuple[int, str, str]]:
    """Exit status, standard output and error of one command after the other, and what a resumed run comes to."""
    for command in COMMANDS:
        done = forked(*command, cwd=place)
        out = "" if command[0] == "train" else done.output  # has the speed in it
        if command[0] == "train" and done.status == 0:
            lines = (place / "runs/tiny/metrics.jsonl").read_text().splitlines()
            losses = [json.loads(line).get("loss") for line in lines]
            out = f"{losses} {(place / 'runs/tiny/checkpoints/step-00000014/model.safetensors').read_bytes()!r}"
        yield done.status, out, done.errors


def damages(content: bytes, random_: random.Random) -> list[tuple[str, bytes]]:
    """What can come of a file: ends early, other bits, other bytes, nothing, zeros."""
    found = [("empty", b""), ("zeros", bytes(len(content)))]
    for _ in range(PLACES):
        at = random_.randrange(len(content))
        flipped = bytearray(content)
        flipped[at] ^= 1 << random_.randrange(8)
        found += [(f"cut at {at}", content[:at]), (f"flipped at {at}", bytes(flipped))]
    return found if ALL else random_.sample(found, SOME)


@pytest.fixture(scope="module")
def right(place: Path) -> list[tuple[int, str, str]]:
    """What the commands come to where nothing is damaged."""
    with TemporaryDirectory(dir=place.parent) as copy:
        shutil.copytree(place, copy, dirs_exist_ok=True)
        right = list(results(Path(copy)))
    assert all(status == 0 for status, _, _ in right), right
    return right


@pytest.mark.parametrize("name", FILES)
def test_no_damaged_file_is_used_silently(
    name: str, place: Path, right: list[tuple[int, str, str]], tmp_path: Path
) -> None:
    (path,) = place.glob(name)
    counts = {"told": 0, "made anew": 0, "without effect": 0}
    for kind, content in damages(path.read_bytes(), random.Random(f"{name} {os.getpid()}")):
        damaged = tmp_path / "damaged"
        shutil.copytree(place, damaged)
        (damaged / path.relative_to(place)).write_bytes(content)
        outcome = "without effect"
        for (_, expected, usual), (status, out, error) in zip(right, results(damaged), strict=True):
            assert "Traceback" not in error, (name, kind, error)
            if status == 2:
                assert error.count("error: ") == 1, (name, kind, error)
                outcome = "told"
                break
            assert status == 0, (name, kind, status, error)
            warned = error.count("warning: ") > usual.count("warning: ")
            assert out == expected or warned, f"{name}, {kind}: used silently"
            outcome = "made anew" if warned else outcome
        counts[outcome] += 1
        shutil.rmtree(damaged)
    print(f"{name}: {', '.join(f'{n} {outcome}' for outcome, n in counts.items())}")  # noqa: T201
