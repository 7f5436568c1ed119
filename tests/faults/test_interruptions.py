"""Whatever ends a training, and wherever, it goes on with the ordinary command and ends bit for bit the same.

At some of its file operations here; at all of them with `make faults`.
"""

import json
import os
import random
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import RECIPE, TINY
from safetensors.torch import load_file

pytest.importorskip("resource", reason="processes that are killed are forks of this one")
from forked import ALL, Done, Happening, fill_disk, forked, sends

CHANGES = [*TINY, "data.n_stories=100", "training.max_steps=6", "training.evaluate_every=3", "model.dropout=0.1"]
SOME = 2
HAPPENINGS: dict[str, tuple[Happening, set[int]]] = {
    "kill": (sends(signal.SIGKILL), {-signal.SIGKILL}),
    "interrupt": (sends(signal.SIGINT), {130}),
    "terminate": (sends(signal.SIGTERM), {130, -signal.SIGTERM}),
    "fill disk": (fill_disk, {2}),
}
"""What happens, and the statuses with which a training may end by it."""


def command(name: str) -> list[object]:
    return ["train", RECIPE, f"run.name={name}", *CHANGES]


def outcome(run: Path) -> tuple[list[dict[str, object]], dict[str, list[float]]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    moving = ("seconds", "tokens_per_second", "checksum")
    kept = [{key: value for key, value in line.items() if key not in moving} for line in lines]
    weights = load_file(run / "checkpoints/step-00000006/model.safetensors")
    return kept, {name: tensor.flatten().tolist() for name, tensor in weights.items()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """Where a run was trained that nothing happened to, and how many file operations it took."""
    place = tmp_path_factory.mktemp("whole")
    done = forked(*command("whole"), cwd=place)
    assert done.status == 0, done.errors
    return place, done.n_operations


def goes_on(place: Path, whole: Path, what: str) -> None:
    """Assert that the ordinary command ends the run as if nothing had happened, then remove all of it."""
    run = place / "runs" / "ended"
    again = ["train", "--resume", run] if (run / "config.yaml").exists() else command("ended")
    done = forked(*again, cwd=place)
    assert done.status == 0, f"{what}: {done.errors}"
    assert outcome(run) == outcome(whole / "runs" / "whole"), what
    left = [str(path) for path in place.rglob(".partial-*")]
    assert not left, f"{what}: {left}"
    for name in ("runs", "data"):
        shutil.rmtree(place / name)


def told(done: Done, what: str) -> None:
    assert "Traceback" not in done.errors, f"{what}: {done.errors}"
    assert (done.status == 2) == (done.errors.count("error: ") == 1), f"{what}: {done.errors}"


@pytest.mark.parametrize("name", HAPPENINGS)
def test_after_it_happens_at_any_file_operation_the_run_ends_the_same(
    name: str, whole: tuple[Path, int], tmp_path: Path
) -> None:
    happening, statuses = HAPPENINGS[name]
    place, n = whole
    places = range(n) if ALL else sorted(random.Random(os.getpid()).sample(range(n), SOME))
    ended = 0
    for operation in places:
        done = forked(*command("ended"), cwd=tmp_path, at=operation, happening=happening)
        what = f"{name} at operation {operation}"
        told(done, what)
        assert done.status in {0, *statuses}, f"{what}: {done.status} {done.errors}"
        ended += done.status != 0
        goes_on(tmp_path, place, what)
    print(f"{name}: {ended} of {len(places)} trainings ended by it; every run the same")  # noqa: T201


def test_a_disk_that_fills_up_in_any_file_is_told_and_the_run_goes_on(whole: tuple[Path, int], tmp_path: Path) -> None:
    place, _ = whole
    sizes = sorted({path.stat().st_size for path in place.rglob("*") if path.is_file() and path.stat().st_size > 1})
    sizes = sizes if ALL else random.Random(os.getpid()).sample(sizes, SOME)
    for size in sizes:
        for largest in (size - 1, size // 2):
            what = f"no file over {largest} bytes"
            done = forked(*command("ended"), cwd=tmp_path, largest_file=largest)
            told(done, what)
            assert done.status in (0, 2), f"{what}: {done.status} {done.errors}"
            goes_on(tmp_path, place, what)
    print(f"{2 * len(sizes)} disks that were full in the middle of a file; every run the same")  # noqa: T201


def test_several_trainings_prepare_the_same_data_at_once(whole: tuple[Path, int], tmp_path: Path) -> None:
    names = [f"run{number}" for number in range(8 if ALL else 3)]
    with ThreadPoolExecutor(len(names)) as pool:
        ended = list(pool.map(lambda name: forked(*command(name), cwd=tmp_path), names))
    assert [done.status for done in ended] == [0] * len(names), [done.errors for done in ended]
    for name in names:
        assert outcome(tmp_path / "runs" / name) == outcome(whole[0] / "runs" / "whole")
    assert not list(tmp_path.rglob(".partial-*"))


@pytest.mark.skipif(not ALL, reason="make faults: 500 of them")
def test_killed_at_any_moment_the_run_ends_the_same(whole: tuple[Path, int], tmp_path: Path) -> None:
    place, _ = whole
    seconds = forked(*command("ended"), cwd=tmp_path).seconds
    goes_on(tmp_path, place, "nothing")
    random_, killed = random.Random(1), 0
    for number in range(500):
        moment = random_.random() * seconds
        done = forked(*command("ended"), cwd=tmp_path, killed_after=moment)
        killed += done.status == -signal.SIGPROF
        goes_on(tmp_path, place, f"kill {number}, after {moment:.3f} s")
    print(f"{killed} of 500 trainings killed at a random moment; every run the same")  # noqa: T201
