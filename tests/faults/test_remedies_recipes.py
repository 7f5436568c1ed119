"""What an error over a recipe or a search advises is done to the letter, and gets the person on: to the next error."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import RECIPE, TINY
from remedies import Case, Remedy, Words, follow, found, nothing, then

PAST = r"runs/taken: (exists already|File exists)"
"""What stands in the way when recipe and search are right."""
TRAIN: Words = ["train", RECIPE, "run.directory=runs/taken"]
OWN: Words = ["train", "mine.yaml", "run.directory=runs/taken", "training.max_steps=5"]
SWEEP: Words = ["sweep", "search.yaml", "--no-open"]
RIGHT = "model:\n  n_layers: 2\n"


def recipe(content: str | bytes) -> Callable[[Path], object]:
    """Write a recipe."""
    raw = content.encode() if isinstance(content, str) else content
    return lambda place: (place / "mine.yaml").write_bytes(raw)


def rewrite(advice: str, content: str = RIGHT) -> Remedy:
    """The same command when the recipe is another, as advised."""
    return then(advice, lambda *_: Path("mine.yaml").write_text(content))


def put_line(advice: str, line: str) -> Remedy:
    """The same command when this stands in the recipe's line whose number is in the advice."""

    def act(number: str) -> None:
        lines = Path("mine.yaml").read_text().splitlines()
        lines[int(number) - 1] = line
        Path("mine.yaml").write_text("\n".join(lines))

    return then(advice, act)


def last(pattern: str, form: str) -> Remedy:
    """The same command with its last word in this form, in which what the error names takes its place."""
    return lambda command, error: [[*command[:-1], form.format(found(pattern, error))]]


def search(**changes: Any) -> Callable[[Path], object]:
    """Write a search, another in some sections; it is JSON, and so YAML."""
    study = {"name": "taken", "trials": 1} | changes.pop("study", {})
    whole = {"recipe": str(RECIPE), "study": study, "space": {"model.n_layers": [1, 2]}} | changes
    return lambda place: (place / "search.yaml").write_text(json.dumps(whole))


def searched(advice: str, **changes: Any) -> Remedy:
    """The same command when the search is another, as advised."""
    return then(advice, lambda *_: search(**changes)(Path()))


def space(dimension: object, key: str = "model.n_layers") -> dict[str, Any]:
    """Of one hyperparameter."""
    return {"space": {key: dimension}}


CASES: dict[str, Case] = {
    "no change": (nothing, [*TRAIN, "n_layers=3"], last("such as (.*)$", "{}")),
    "no section": (nothing, [*TRAIN, "modl.n_layers=3"], last("did you mean '([^']+)'", "{}=3")),
    "no such section at all": (nothing, [*TRAIN, "x.y=3"], last("sections are .*(training)", "{}.max_steps=3")),
    "a key without its section": (
        lambda place: (place / "own.yaml").write_text("training.max_steps: 2\n"),
        ["train", "own.yaml", *TINY, "data.n_stories=100", "run.name=own"],
        then(
            "write '(training:)' and, indented below it, '(max_steps:) ...'$",
            lambda section, key: Path("own.yaml").write_text(f"{section}\n  {key} 2\n"),
        ),
    ),
    "a number for a key": (
        lambda place: (place / "own.yaml").write_text("training: {1: 2}\n"),
        ["train", "own.yaml", *TINY, "data.n_stories=100", "run.name=own"],
        then(
            "such as model and (n_layers); write one$", lambda key: Path("own.yaml").write_text(f"model: {{{key}: 1}}")
        ),
    ),
    "no such key in a section": (
        nothing,
        [*TRAIN, "optimizer.lr=1"],
        last("valid here: .*(weight_decay)", "optimizer.{}=1"),
    ),
    "another choice": (nothing, [*TRAIN, "model.norm=rms"], last("did you mean '([^']+)'", "model.norm={}")),
    "auto in capitals": (nothing, [*TRAIN, "model.n_layers=AUTO"], last("write '(auto)'", "model.n_layers={}")),
    "auto where it may not be": (
        nothing,
        [*TRAIN, "model.n_heads=auto"],
        last(r"these may: .*(model.n_layers)", "{}=auto"),
    ),
    "no number": (nothing, [*TRAIN, "model.n_layers=true"], last("; (write a number)$", "model.n_layers=1")),
    "too small a number": (nothing, [*TRAIN, "model.n_layers=0"], last(r"or equal to (\d)$", "model.n_layers={}")),
    "no heads": (
        nothing,
        [*TRAIN, "model.n_heads=null"],
        lambda command, error: [[*command, found("both null; give one of (them)", error) and "model.d_head=32"]],
    ),
    "heads that do not part": (
        nothing,
        [*TRAIN, "model.n_heads=4", "model.n_kv_heads=3"],
        last(r"n_heads \((4)\) must be divisible", "model.n_kv_heads={}"),
    ),
    "heads that do not turn": (
        nothing,
        [*TRAIN, "model.n_heads=2", "model.d_head=7"],
        last("(must be even)", "model.d_head=8"),
    ),
    "no recipe named": (
        nothing,
        ["train"],
        lambda _, error: [["train", RECIPE.parents[1] / found("such as (.*),", error), "run.directory=runs/taken"]],
    ),
    "no such recipe": (
        nothing,
        ["config", "q"],
        lambda _, error: [["train", RECIPE.parents[1] / found("a YAML file, such as (.*)$", error), *TRAIN[2:]]],
    ),
    "a folder": (
        lambda place: ((place / "mine.yaml").mkdir(), (place / "x.yaml").write_text(RIGHT)),
        OWN,
        lambda command, error: [["train", found("name a YAML (file)", error) and "x.yaml", *command[2:]]],
    ),
    "too large a recipe": (recipe("#" * 2**21), OWN, rewrite("and is no recipe; name a YAML file")),
    "a recipe not in UTF-8": (recipe(RIGHT.encode("utf-16")), OWN, rewrite("save the file as UTF-8")),
    "a list": (recipe("- model"), OWN, rewrite("holds a list; a recipe is sections of `key: value` lines")),
    "no section but a text": (recipe("model: large"), OWN, rewrite("must be a section .* lines: .*n_layers")),
    "no YAML": (
        recipe("model:\n\tn_layers: 2"),
        OWN,
        put_line(r"mine.yaml, line (\d): not valid YAML .*; mend it there$", "  n_layers: 2"),
    ),
    "a key twice": (
        recipe("model:\n  n_layers: 2\n  n_layers: 3"),
        OWN,
        put_line(r"line (\d): .*'n_layers' is given twice.*; mend it there$", ""),
    ),
    "a value for another": (
        recipe("model:\n  n_layers: &many 2\n  n_heads: *many"),
        OWN,
        put_line(r"line (\d): .*'\*many' stands for another value\); mend it there$", "  n_heads: 2"),
    ),
    "a value that is none": (
        recipe("model:\n  n_layers: !!int many"),
        OWN,
        rewrite("'many'.*; mend that value$"),
    ),
    "a truth for a text": (
        recipe("data:\n  subset: true"),
        OWN,
        rewrite("write a text that says so in quotes", "data:\n  subset: 'true'"),
    ),
    "a list for a text": (
        recipe("data:\n  subset: [1]"),
        OWN,
        rewrite("must be a text; write it in quotes", "data:\n  subset: '[1]'"),
    ),
    "a search without end": (search(study={"trials": None}), SWEEP, searched("set study.trials, study.minutes or")),
    "seeds twice": (
        search(study={"seeds": [1, 1]}),
        SWEEP,
        searched("differ from each other", study={"seeds": [1, 2]}),
    ),
    "a search of seeds": (
        search(**space([1, 2], "run.seed")),
        SWEEP,
        searched("name seeds in study.seeds", study={"seeds": [1, 2]}),
    ),
    "a search of nothing known": (
        search(**space([1, 2], "model.layers")),
        SWEEP,
        then("did you mean '([^']+)'", lambda key: search(**space([1, 2], key))(Path())),
    ),
    "a search of what only begins alike": (
        search(**space([1, 2], "optimizer.lr")),
        SWEEP,
        searched("valid here: .*weight_decay", **space([1, 2], "optimizer.weight_decay")),
    ),
    "half a range": (
        search(**space({"low": 1})),
        SWEEP,
        searched("or have low and high", **space({"low": 1, "high": 2})),
    ),
    "a range the wrong way": (
        search(**space({"low": 2, "high": 1})),
        SWEEP,
        searched(r"low \(2\) must be below high \(1\)", **space({"low": 1, "high": 2})),
    ),
    "factors from nothing": (
        search(**space({"low": 0, "high": 4, "log": True})),
        SWEEP,
        searched("with log, low must be positive", **space({"low": 1, "high": 4, "log": True})),
    ),
    "half a step": (
        search(**space({"low": 1, "high": 4, "step": 0.5})),
        SWEEP,
        searched("must be a whole number where low and high are", **space({"low": 1, "high": 4, "step": 1})),
    ),
    "a grid of a range": (
        search(study={"sampler": "grid"}, **space({"low": 1, "high": 4})),
        SWEEP,
        searched("use sampler: tpe or random", study={"sampler": "random"}, **space({"low": 1, "high": 4})),
    ),
    "what waits for something later": (
        search(space={"model.n_heads": {"choices": [1, 2], "when": {"model.n_layers": 1}}, "model.n_layers": [1, 2]}),
        SWEEP,
        searched(
            "model.n_heads: when names model.n_layers, which is not searched before it",
            space={"model.n_layers": [1, 2], "model.n_heads": {"choices": [1, 2], "when": {"model.n_layers": 1}}},
        ),
    ),
    "another sampler": (
        search(study={"sampler": "tree"}),
        SWEEP,
        searched("must be 'tpe', 'random' or 'grid'", study={"sampler": "tpe"}),
    ),
    "a search without a recipe": (search(recipe="q"), SWEEP, searched("q: no such recipe; name a YAML file")),
}


@pytest.mark.parametrize("name", CASES)
def test_the_remedy_works(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil, command, remedy = CASES[name]
    if command is SWEEP:
        pytest.importorskip("optuna")
    taken = tmp_path / "runs/taken"
    taken.parent.mkdir()
    if command is SWEEP:
        taken.touch()
    else:
        taken.mkdir()
        (taken / "config.yaml").touch()
    monkeypatch.chdir(tmp_path)
    follow((spoil, command, remedy), tmp_path, PAST)
