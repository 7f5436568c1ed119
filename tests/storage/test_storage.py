"""Files are whole or as they were, damage is told, and a folder has one worker."""

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import RECIPE, TINY, minigpt
from hypothesis import given
from hypothesis import strategies as st

from minigpt.errors import UserError
from minigpt.storage import lock
from minigpt.storage.checksums import DamageError, check_file, checksum, file_checksum, read_sealed, sealed, unsealed
from minigpt.storage.lock import NAME, locked
from minigpt.storage.metrics import metrics_line, parse_metrics
from minigpt.storage.writing import flush_folder, save_page, write_whole

HOLDER = """
import sys
from pathlib import Path
from minigpt.storage.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_file_whose_writing_fails_is_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            write_whole(path, b"new")
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (b"old", [path])


def test_a_page_replaces_a_page_however_that_begins(tmp_path: Path) -> None:
    (tmp_path / "page").write_text("<!doctype html>old")
    save_page(tmp_path / "page", "<!DOCTYPE html>new")
    assert (tmp_path / "page").read_text() == "<!DOCTYPE html>new"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders here")
def test_a_page_goes_into_a_pipe_that_stays_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    save_page(tmp_path / "pipe", "<!DOCTYPE html>")
    assert os.read(reader, 100) == b"<!DOCTYPE html>"
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize(("number", "raises"), [(errno.EINVAL, False), (errno.ENOTSUP, False), (errno.EIO, True)])
def test_a_folder_that_cannot_be_flushed_is_no_fault_but_a_broken_disk_is(
    number: int, raises: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    if raises:
        with pytest.raises(OSError, match=os.strerror(number)):
            flush_folder(tmp_path)
    else:
        flush_folder(tmp_path)


NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)


@given(st.dictionaries(st.text(), st.none() | st.text() | NUMBERS | st.lists(NUMBERS)))
def test_a_sealed_document_comes_back(document: dict[str, Any]) -> None:
    document.pop("checksum", None)
    assert unsealed(json.loads(sealed(document))) == document


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"", "not JSON"), (b"[]", "no JSON object"), (b'{"a": 1}', "no checksum"), (b"[" * 10**5, "not JSON")],
)
def test_what_is_not_sealed_is_told(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DamageError, match=f"file: damaged .*{told}"):
        read_sealed(tmp_path / "file", dict)


def test_nan_is_never_written() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        sealed({"loss": float("nan")})


@pytest.mark.parametrize(
    "wrong", [{"step": -1}, {"step": 1.5}, {"tokens": -1}, {"seconds": None}, {"loss": "low"}, {"sample": 1}], ids=str
)
def test_metrics_of_another_kind_than_is_written_are_told(wrong: dict[str, Any], tmp_path: Path) -> None:
    path, right = tmp_path / "metrics.jsonl", {"step": 1, "tokens": 2, "seconds": 0.5, "sample": ""}
    path.write_text(metrics_line(right) + metrics_line(right | wrong))
    with pytest.raises(UserError, match=r"metrics.jsonl, line 2: not what was written"):
        parse_metrics(path)


def test_a_file_is_checked_by_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(os.urandom(3 * 2**20))
    assert file_checksum(path) == checksum(path.read_bytes())
    with pytest.raises(DamageError, match="file: damaged"):
        check_file(path, checksum(b""))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders here")
def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DamageError, match="pipe: is no file"):
        file_checksum(tmp_path / "pipe")


def test_a_lock_names_its_holder_and_dies_with_it(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=rf"process {holder.pid} on .* is working on it"), locked(tmp_path):
            pass
        holder.send_signal(signal.SIGKILL)
    with locked(tmp_path):
        assert str(os.getpid()) in (tmp_path / NAME).read_text()


def test_a_holder_on_another_computer_is_named_and_one_that_is_gone_is_not_waited_for(tmp_path: Path) -> None:
    elsewhere = json.dumps({"process": 7, "host": "elsewhere"})
    with locked(tmp_path):
        (tmp_path / NAME).write_text(elsewhere)  # as a shared folder shows it
        with pytest.raises(UserError, match="process 7 on elsewhere is working on it"), locked(tmp_path):
            pass
    (tmp_path / NAME).write_text(elsewhere)
    with locked(tmp_path):
        assert "elsewhere" not in (tmp_path / NAME).read_text()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_told_and_used(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_file: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(lock, "_take", refuse)
    with locked(tmp_path):
        pass
    assert "cannot be locked here" in capsys.readouterr().err


def test_a_run_is_trained_by_one_process(run: Path) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != NAME}
    with locked(run):
        for command in (["--resume", run], [RECIPE, *TINY, "run.name=tiny", "--overwrite"]):
            done = minigpt("train", *command, cwd=run.parents[1])
            assert (done.returncode, f"process {os.getpid()}" in done.stderr) == (2, True), done.stderr
    assert {path: path.read_bytes() for path in before} == before
