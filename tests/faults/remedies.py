"""What an error advises, done to the letter: the mechanism."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

from conftest import RECIPE, TINY, minigpt

Words = list[object]
Spoil = Callable[[Path], object]
Remedy = Callable[[Words, str], list[Words]]
Case = tuple[Spoil, Words, Remedy]
"""What is made wrong, the command that tells of it, and the commands that the error leads to."""
TRAIN: Words = ["train", RECIPE, *TINY, "data.n_stories=100"]
CONFIG: Words = ["config", RECIPE, *TINY]
RESUME: Words = ["train", "--resume", "runs/tiny"]
SAMPLE: Words = ["sample", "runs/tiny", "--max-new-tokens", "3"]
OWN = [*TRAIN, "run.name=own", "tokenizer.kind=byte", "data.source=text.txt"]
LINES = [*TRAIN, "run.name=own", "tokenizer.kind=byte", "data.source=text.jsonl", "data.validation_fraction=0.3"]
LONG = "a" * 400


def damage(name: str) -> Callable[[Path], object]:
    """Make a file of the run another."""
    return lambda place: (place / "runs/tiny" / name).write_bytes(b"damaged")


def edit(before: str, after: str) -> Callable[[Path], object]:
    """Write something else into the run's recipe."""

    def write(place: Path) -> None:
        path = place / "runs/tiny/config.yaml"
        assert before in path.read_text()
        path.write_text(path.read_text().replace(before, after))

    return write


def records(*values: object) -> Callable[[Path], object]:
    """Write them as JSON Lines."""
    lines = "\n".join(json.dumps(value) for value in values)
    return lambda place: (place / "text.jsonl").write_text(lines)


def text(content: str) -> Callable[[Path], object]:
    """Write a text."""
    return lambda place: (place / "text.txt").write_text(content)


def found(pattern: str, error: str) -> str:
    """What stands in the error where the pattern has its group."""
    match = re.search(pattern, error)
    assert match, error
    return match[1]


def typed(pattern: str) -> Callable[[Words, str], list[Words]]:
    """The command in the error."""
    return lambda _, error: [[*shlex.split(found(pattern, error))]]


def more(*words: str) -> Callable[[Words, str], list[Words]]:
    """The same command with more words."""
    return lambda command, _: [[*command, *words]]


def instead(pattern: str, form: str) -> Callable[[Words, str], list[Words]]:
    """The same command with a word of this form, in which what the error names takes its place."""
    return lambda command, error: [[*command, form.format(found(pattern, error))]]


def without(*unwanted: str, advice: str = "") -> Remedy:
    """The same command without some words, as advised."""

    def remedy(command: Words, error: str) -> list[Words]:
        assert re.search(advice, error), error
        return [[word for word in command if word not in unwanted]]

    return remedy


def nothing(_place: Path) -> None:
    """Everything is as it should be but the command."""


def then(advice: str, act: Callable[..., object]) -> Remedy:
    """The same command after what was advised, which is done with the groups of the advice."""

    def remedy(command: Words, error: str) -> list[Words]:
        match = re.search(advice, error)
        assert match, error
        act(*match.groups())
        return [command]

    return remedy


def follow(case: Case, here: Path, past: str = "(?!)") -> None:
    """Assert that a command fails with one line, and that its advice leads to an end, or `past` it to another error."""
    spoil, command, remedy = case
    spoil(here)
    done = minigpt(*command, cwd=here)
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (done.returncode, lines) == (2, done.stderr.splitlines()[-1:]), f"{command}: {done.returncode} {done.stderr}"
    assert not re.search(past, lines[0]), lines[0]
    for words in remedy(command, lines[0]):
        done = minigpt(*words, cwd=here)
        well = done.returncode == 0 or re.search(past, done.stderr)
        assert well, f"{lines[0]}\nthen {words}: {done.returncode} {done.stderr}"
