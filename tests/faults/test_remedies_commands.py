"""What an error over a command on a run advises is done to the letter, and gets the person on."""

from pathlib import Path

import pytest
from remedies import SAMPLE, Case, Words, edit, follow, found, instead, nothing, text, then, without

PAST = "metrics.jsonl, line 1: not what was written"
"""The error that comes when runs can be compared, but before they are."""
EVALUATE: Words = ["evaluate", "runs/tiny", "--text", "text.txt"]
COMPARE: Words = ["compare", "runs/tiny", "--no-open"]


def damage_metrics(place: Path, name: str = "tiny") -> None:
    """A line of a run's."""
    (place / "runs" / name / "metrics.jsonl").write_bytes(b"damaged\n")


def metrics_folder(place: Path) -> None:
    """In the place of a run's; another run's are damaged."""
    damage_metrics(place, "other")
    (place / "runs/tiny/metrics.jsonl").unlink()
    (place / "runs/tiny/metrics.jsonl").mkdir()


CASES: dict[str, Case] = {
    "no run": (
        nothing,
        ["sample", "runs", "--max-new-tokens", "3"],
        lambda command, error: [
            ["sample", found("the folder that `minigpt (train)`", error) and "runs/tiny", *command[2:]]
        ],
    ),
    "no device": (nothing, [*SAMPLE, "--device", "tpu"], instead("(--device) tpu: must be auto, cpu", "{}=cpu")),
    "two ways to write": (
        nothing,
        [*SAMPLE, "--interactive", "--json"],
        without("--interactive", advice="give --interactive or --json, not both$"),
    ),
    "nothing to stop at": (nothing, [*SAMPLE, "--stop", ""], without("--stop", "", advice="--stop must not be empty$")),
    "too cold": (
        nothing,
        [*SAMPLE, "--temperature", "-1"],
        instead(r"(--temperature) -1.0: must be greater than or equal to 0", "{}=0"),
    ),
    "a prompt not in UTF-8": (
        lambda place: (place / "text.txt").write_bytes(b"\xff"),
        [*SAMPLE, "--prompt-file", "text.txt"],
        then("error: (text.txt): .*; convert it to UTF-8", lambda name: Path(name).write_text("A")),
    ),
    "nothing to evaluate on": (
        text(""),
        EVALUATE,
        then("holds no text; give one that does", lambda: text("A cat")(Path())),
    ),
    "too little to evaluate on": (text("A"), EVALUATE, then("at least two tokens", lambda: text("A cat")(Path()))),
    "an empty name": (
        text("A cat"),
        [*EVALUATE[:-1], ""],
        lambda _, error: [[*EVALUATE[:-1], found("--text: (must not be empty)", error) and "text.txt"]],
    ),
    "records of another kind": (
        lambda place: (place / "text.jsonl").write_text('{"body": "A cat"}'),
        [*EVALUATE[:-1], "text.jsonl"],
        then(
            "error: (.*jsonl), line 1: .*under 'text' but .*; put it there",
            lambda name: Path(name).write_text('{"text": "A cat"}'),
        ),
    ),
    "the run's text is away": (
        lambda place: [edit("source: stories", "source: q.txt")(place), text("A cat")(place)],
        EVALUATE[:2],
        instead(
            r"^error: runs/tiny/config.yaml: data.source = q.txt: .*or name a text with (--text)\)$", "{}=text.txt"
        ),
    ),
    "a page in the place of something else": (
        text("A cat"),
        ["tokenize", "A cat", "--output", "text.txt"],
        instead("exists already, and is no page; choose another (--output)$", "{}=page.html"),
    ),
    "no place for a page": (
        nothing,
        ["tokenize", "A cat", "--output", "no/page.html"],
        instead("choose another (--output)", "{}=page.html"),
    ),
    "a tokenizer that learns": (
        nothing,
        ["tokenize", "A cat", "--tokenizer", "word"],
        lambda command, error: [[*command[:-1], found("(name a run)", error) and "runs/tiny"]],
    ),
    "a misspelt run for its tokenizer": (
        nothing,
        ["tokenize", "A cat", "--tokenizer", "runs/tinny"],
        lambda command, error: [[*command[:-1], found("did you mean '([^']+)'", error)]],
    ),
    "a folder that is no run": (
        nothing,
        ["tokenize", "A cat", "--tokenizer", "runs"],
        lambda command, error: [[*command[:-1], found("nor one of byte, (character)", error)]],
    ),
    "no words": (
        nothing,
        ["embeddings", "runs/tiny"],
        lambda command, error: [[*command, found(r"such as king (queen)", error)]],
    ),
    "several tokens": (
        nothing,
        ["embeddings", "runs/tiny", "princesss"],
        lambda command, error: [[*command[:-1], found("did you mean '([^']+)'", error)]],
    ),
    "a run twice": (
        damage_metrics,
        [*COMPARE, "runs/tiny"],
        lambda command, error: [[*command[:-1], found("(name each once)", error) and "runs/other"]],
    ),
    "a pattern of no run": (
        damage_metrics,
        ["compare", "q/*", "--no-open"],
        lambda command, error: [["compare", found("name runs, such as '(.*)'$", error), "--no-open"]],
    ),
    "metrics a folder": (
        metrics_folder,
        [*COMPARE, "runs/other"],
        then("error: ([^:]*metrics.jsonl): .*or delete it", lambda name: Path(name).rmdir()),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_remedy_works(name: str, two_runs: Path) -> None:
    follow(CASES[name], two_runs, PAST)
