"""The help of every command ends with examples, which tests/test_readme.py runs."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from conftest import minigpt

from minigpt import cli
from minigpt.cli.examples import EXAMPLES

COMMANDS = typer.main.get_command(cli.app).commands  # type: ignore[attr-defined]


def test_help_comes_without_what_takes_long_to_import() -> None:
    script = "import atexit, sys; from minigpt import cli; sys.argv = ['minigpt', '--help']\n"
    script += "atexit.register(lambda: print({'torch', 'numpy', 'pydantic'} & set(sys.modules))); cli.main()"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("set()\n")


def test_every_command_has_examples() -> None:
    assert EXAMPLES.keys() == {"", *COMMANDS}


@pytest.mark.parametrize("name", EXAMPLES)
def test_help_shows_examples_that_the_command_understands(name: str, tmp_path: Path) -> None:
    done = minigpt(*filter(None, [name]), "--help", cwd=tmp_path)
    assert done.returncode == 0
    _, shown = done.stdout.split("Examples:\n")
    lines = shown.splitlines()
    assert [line.strip() for line in lines] == list(EXAMPLES[name])
    assert 2 <= len(lines) <= 3
    assert max(map(len, lines)) <= 80
    for example in EXAMPLES[name]:
        program, command, *words = shlex.split(example)
        assert (program, command) == ("minigpt", name or command)
        COMMANDS[command].make_context(command, words)
