"""Whatever the standard streams are, a command works or says in one line what it lacks."""

import io
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from conftest import RECIPE, TINY, minigpt
from forked import forked

from minigpt import cli
from minigpt.cli import streams

pytestmark = pytest.mark.skipif(os.name != "posix", reason="a shell that closes streams")
SAMPLE = "sample runs/tiny --max-new-tokens 5 --prompt"


def test_a_run_is_trained_though_all_streams_are_closed(run: Path) -> None:
    changes = " ".join([*TINY, "run.name=closed", "training.max_steps=2"])
    line = f"exec {sys.executable} -m minigpt train {RECIPE} {changes} <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", line], cwd=run.parents[1], check=False).returncode == 0
    lines = (run.parent / "closed" / "metrics.jsonl").read_text().splitlines()
    assert all(line.startswith("{") for line in lines)


@pytest.mark.parametrize(("encoding", "form"), [("ascii", ""), ("ascii", "--json"), ("cp1252", ""), ("utf-8", "")])
def test_text_is_written_in_every_encoding(
    encoding: str, form: str, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    words = [*SAMPLE.split(), "Ein M\u00e4rchen, \u6771\u4eac", *filter(None, [form])]
    monkeypatch.setattr(sys, "argv", ["minigpt", *words])
    monkeypatch.setattr(sys, "stdout", output)
    monkeypatch.chdir(run.parents[1])
    with pytest.raises(SystemExit) as end:
        cli.main()
    output.flush()
    told = output.detach().getvalue().decode(encoding)  # type: ignore[attr-defined]
    assert not end.value.code
    if form:
        assert json.loads(told)["prompt"] == "Ein M\u00e4rchen, \u6771\u4eac"
    else:
        assert ("\u6771" if encoding == "utf-8" else "\\u6771") in told


def test_bytes_that_are_no_text_are_told_in_one_line(run: Path) -> None:
    done = minigpt(*SAMPLE.split(), os.fsdecode(b"a\xff"), cwd=run.parents[1])
    assert (done.returncode, done.stderr.count("error: ")) == (2, 1), done.stderr


TEXTS = {
    b"a\xff": (2, "", "standard input: not UTF-8 at byte 1; convert it to UTF-8"),
    b"a" * 101: (2, "", "standard input: has more than 100 bytes"),
    "\ufeffé".encode(): (0, "2 tokens for 2 bytes", ""),
}


@pytest.mark.parametrize("content", TEXTS)
def test_standard_input_is_read_alike_by_every_command(
    content: bytes, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, shown, told = TEXTS[content]
    monkeypatch.setattr(streams, "LARGEST", 100)
    done = minigpt("tokenize", "-", "--tokenizer", "byte", cwd=run, stdin=content)
    assert (done.returncode, shown in done.stdout, told in done.stderr) == (status, True, True), done
    done = minigpt(*SAMPLE.split(), "-", cwd=run.parents[1], stdin=content)
    assert (done.returncode, told in done.stderr) == (status, True), done


def test_a_byte_order_mark_is_no_part_of_a_prompt(run: Path, tmp_path: Path) -> None:
    content = "\ufeffA cat".encode()
    (tmp_path / "prompt.txt").write_bytes(content)
    for words in (["--prompt-file", tmp_path / "prompt.txt"], ["--prompt", "-"]):
        done = minigpt("sample", run, "--max-new-tokens", 1, *words, cwd=tmp_path, stdin=content)
        assert done.stdout.startswith("A cat"), done


@pytest.mark.parametrize(
    ("environment", "missing"),
    [
        ({}, "RANK"),
        ({"RANK": "0", "LOCAL_RANK": "0"}, "MASTER_PORT"),
        ({"RANK": "0", "LOCAL_RANK": "0", "MASTER_PORT": "1"}, "MASTER_ADDR"),
    ],
)
def test_half_an_environment_of_torchrun_is_told(environment: dict[str, str], missing: str, run: Path) -> None:
    set_variables = partial(os.environ.update, environment, WORLD_SIZE="2")
    done = forked("train", RECIPE, *TINY, "run.name=alone", cwd=run.parents[1], before=set_variables)
    assert (done.status, "Traceback" in done.errors) == (2, False), done.errors
    assert f"WORLD_SIZE is set, and '{missing}' is not as torchrun sets it" in done.errors
