"""Every command that the README or a help shows is one that works: here, on the tiny run."""

import contextlib
import re
import shlex
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import TINY, minigpt

from minigpt.cli.examples import EXAMPLES

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
COMMANDS = [
    line.split("  #")[0].strip()
    for block in BLOCKS
    for line in block.replace("\\\n", " ").splitlines()
    if line.strip() and not line.startswith("#")
]
SHOWN = dict.fromkeys([*COMMANDS, *(example for examples in EXAMPLES.values() for example in examples)])
MAKE = ("make train", "make test")
QUICK = ["run.compile=false", "sampling.max_new_tokens=5"]
"""For a recipe that chooses its sizes itself."""


def test_the_readme_names_the_two_commands_first() -> None:
    assert tuple(COMMANDS[:2]) == MAKE
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    assert {"train", "test", "install", "lint", "format", "clean"} <= set(targets)


@pytest.mark.parametrize("command", [command for command in SHOWN if command not in MAKE])
def test_a_command_that_is_shown_works(command: str, run: Path, tmp_path: Path) -> None:
    """With the tiny run in the place of the README's, and few steps where it trains."""
    text = tmp_path / "mine.txt"
    text.write_text("It was a bright cold day in April, and the clocks were striking thirteen. " * 40)
    command = command.replace("source .venv/bin/activate && ", "").replace("data/mine.txt", str(text))
    words = shlex.split(command.replace("exports/", f"{tmp_path}/exports/").replace("runs/back", f"{tmp_path}/back"))
    if words[0] == "torchrun":
        assert words[3] == "scripts/train.py"
        return  # tests/training runs it with two processes
    if {"--serve", "--tasks", "--workers"} & set(words):
        return  # tests of these run it
    if words[0] == "python":
        assert (ROOT / words[1]).exists()
        words = ["minigpt", Path(words[1]).stem, *words[2:]]
    assert words[0] == "minigpt", command
    stdin = "Once\n" if "--interactive" in words else ""
    named = list(dict.fromkeys(word for word in words if word.startswith("runs/")))
    copies = {name: run if i == 0 else shutil.copytree(run, tmp_path / f"run{i}") for i, name in enumerate(named)}
    arguments = [str(copies.get(word, word)) for word in words[1:]]
    arguments = [str(ROOT / word) if word.startswith("configs/") else word for word in arguments]
    if arguments[0] == "train":
        settings = QUICK if arguments[1].endswith(("auto.yaml", "finetune.yaml")) else TINY
        arguments += [f"run.directory={tmp_path / 'run'}", *settings, "training.max_steps=2"]
        if "--resume" in arguments:
            arguments = ["train", "--resume", str(run)]
        elif not any(word.startswith("data.source") for word in arguments):
            arguments.append(f"data.source={text}")
    if arguments[0] == "config":
        arguments.append("run.compile=false")
    if arguments[0] == "import" or f"training.init_from={tmp_path}/back" in arguments:
        back(run, tmp_path, words[2] if words[1] == "import" else None)
    if arguments[0] == "sweep":
        arguments[1] = str(small_search(Path(arguments[1]), tmp_path))
    done = minigpt(*arguments, cwd=run.parents[1], stdin=stdin)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def back(run: Path, folder: Path, wanted: str | None) -> None:
    """What the README's commands have exported before: what is wanted for import, or else it is imported as well."""
    exported = wanted or folder / "exports" / "stories"
    steps = [["export", run, "--output", exported], ["import", exported, "--output", folder / "back"]]
    for words in steps[: 1 if wanted else 2]:
        done = minigpt(*words, cwd=folder)
        assert done.returncode == 0, done.stderr


def test_the_python_of_the_readme_works(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    curves, interface = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(curves.replace("runs/stories", str(run)))
    step, tokens, loss, _row, first = capsys.readouterr().out.split()[:5]
    assert (step, tokens, loss, first) == ("step", "tokens", "validation_loss", "6")
    with contextlib.chdir(run.parents[1]):
        exec(interface.replace("runs/stories", str(run)))
    assert re.search(r"\(\d+, 1024\) \d\.\d+\n", capsys.readouterr().out), "logits of each token, and bits per byte"


def small_search(search: Path, folder: Path) -> Path:
    """The same space on top of the tiny recipe, for two trials."""
    tree = yaml.safe_load(search.read_text(encoding="utf-8"))
    changes = {key: yaml.safe_load(value) for key, value in (change.split("=", 1) for change in TINY)}
    space = {key: value for key, value in tree["space"].items() if key not in changes}
    recipe = str((search.parent / tree["recipe"]).resolve())
    small = {"recipe": recipe, "changes": changes, "study": {"name": "small", "trials": 2}, "space": space}
    path = folder / "search.yaml"
    path.write_text(yaml.safe_dump(small, sort_keys=False))
    return path
