"""Bad input gets one `error:` line that names what is wrong, and exit status 2."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import RECIPE, TINY, minigpt

from minigpt.errors import UserError
from minigpt.recipes import load_recipe

CHANGES = {
    "model.n_layer=3": ["model.n_layer", "n_layers"],
    "modle.n_layers=3": ["modle", "model"],
    "model.n_layers=0": ["model.n_layers = 0", "greater than or equal to 1"],
    "model.n_layers=two": ["model.n_layers", "two", "integer"],
    "model.n_layers=1.5": ["model.n_layers", "1.5"],
    "model.n_layers=true": ["model.n_layers", "true"],
    "model.d_model=255": ["255", "divisible", "n_heads"],
    "model.n_kv_heads=5": ["n_heads (2)", "divisible by n_kv_heads (5)"],
    "model.d_head=5": ["d_head (5)", "even"],
    "model.dropout=1.0": ["model.dropout = 1.0", "less than 1"],
    "model.position=rotary": ["model.position", "'rope' or 'learned'"],
    "model.norm=rms": ["model.norm", "did you mean 'rmsnorm'"],
    "model=3": ["'model=3'", "section.key=value"],
    "optimizer.name=muno": ["optimizer.name", "did you mean 'muon'"],
    "optimizer.learning_rate=-1": ["optimizer.learning_rate = -1", "greater than 0"],
    "optimizer.learning_rate=.nan": ["optimizer.learning_rate", "finite"],
    "optimizer.learning_rate=fast": ["optimizer.learning_rate", "fast", "number"],
    "schedule.cooldown_fraction=1.5": ["schedule.cooldown_fraction = 1.5", "less than or equal to 1"],
    "training.batch_size=0": ["training.batch_size = 0"],
    "training.max_minutes=null": ["training.max_steps", "training.max_minutes"],
    "training.max_minutes=0": ["training.max_minutes = 0", "greater than 0"],
    "run.device=gpu": ["run.device", "gpu"],
    "run.precision=fp16": ["run.precision", "float32"],
    "run.name=a/b": ["run.name", "a/b"],
    "run.seed=-1": ["run.seed = -1"],
    "data.validation_fraction=1": ["data.validation_fraction = 1", "less than 1"],
    "data.sha256=abc": ["data.sha256", "abc"],
    "tokenizer.vocab_size=10": ["tokenizer.vocab_size = 10", "257"],
    "sampling.top_p=2": ["sampling.top_p = 2"],
    "sampling.temperature=hot": ["sampling.temperature", "hot"],
    "justtext": ["'justtext'", "section.key=value"],
}


@pytest.mark.parametrize(("change", "expected"), CHANGES.items())
def test_a_wrong_value_is_named_with_what_would_be_right(change: str, expected: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        load_recipe(RECIPE, [change])
    message = str(caught.value)
    assert "\n" not in message
    for part in expected:
        assert part in message


FILES = {
    "model: [1, 2": ["line", "not valid YAML"],
    "model: {n_layers: 2}\nmodel: {n_layers: 3}": ["line 2", "'model' is given twice"],
    "- a\n- b": ["list", "sections"],
    "model: 3": ["model", "section"],
    "model: {n_layers: 2, n_layers: 3}": ["'n_layers' is given twice"],
    "\tmodel: x": ["not valid YAML"],
}


@pytest.mark.parametrize(("content", "expected"), FILES.items())
def test_a_damaged_recipe_is_named_with_its_place(content: str, expected: list[str], tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        load_recipe(path)
    for part in [str(path), *expected]:
        assert part in str(caught.value)


def test_a_number_that_yaml_reads_as_text_is_a_number() -> None:
    assert load_recipe(RECIPE, ["optimizer.learning_rate=1e-3"]).optimizer.learning_rate == 0.001


COMMANDS: dict[str, tuple[Callable[[Path], list[object]], list[str]]] = {
    "missing recipe": (lambda run: ["train", "configs/none.yaml"], ["configs/none.yaml", "no such recipe"]),
    "unknown option": (lambda run: ["train", RECIPE, "--fast"], ["--fast"]),
    "unknown command": (lambda run: ["trane"], ["trane"]),
    "no recipe": (lambda run: ["train"], ["recipe"]),
    "missing text": (
        lambda run: ["train", RECIPE, *TINY, "run.name=x", "data.source=nothing.txt"],
        ["data.source = nothing.txt", "no such file"],
    ),
    "run that exists": (lambda run: ["train", RECIPE, *TINY, "run.name=tiny"], ["exists already", "--resume"]),
    "not a run": (lambda run: ["sample", run.parent], ["not a run folder"]),
    "no such checkpoint": (lambda run: ["sample", run, "--checkpoint", "7"], ["--checkpoint 7", "best"]),
    "bad temperature": (lambda run: ["sample", run, "--temperature", "-1"], ["--temperature", "greater than"]),
    "bad top-p": (lambda run: ["sample", run, "--top-p", "0"], ["--top-p"]),
    "missing prompt file": (lambda run: ["sample", run, "--prompt-file", "none.txt"], ["none.txt", "cannot be read"]),
    "no such device": (lambda run: ["sample", run, "--device", "cuda:9"], ["run.device = cuda", "CUDA"]),
    "unknown device": (lambda run: ["sample", run, "--device", "tpu"], ["run.device = tpu", "cuda:N"]),
    "seed too large": (lambda run: ["sample", run, "--seed", 2**64], ["--seed", str(2**63 - 1)]),
    "run in the place of a file": (
        lambda run: ["train", RECIPE, *TINY, f"run.directory={run / 'config.yaml'}"],
        ["config.yaml", "run.directory"],
    ),
    "data in the place of a file": (
        lambda run: ["train", RECIPE, *TINY, "run.name=y", f"data.directory={run / 'config.yaml'}"],
        ["config.yaml", "data.directory"],
    ),
    "missing evaluation text": (lambda run: ["evaluate", run, "--text", "none.txt"], ["none.txt", "cannot be read"]),
    "stride too long": (lambda run: ["evaluate", run, "--stride", "99"], ["--stride 99", "32"]),
    "resume changes the model": (lambda run: ["train", "--resume", run, "model.n_layers=3"], ["model cannot change"]),
    "resume with a recipe": (lambda run: ["train", RECIPE, "--resume", run], ["--resume"]),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_wrong_command_gets_one_error_line_and_status_2(name: str, run: Path) -> None:
    command, expected = COMMANDS[name]
    done = minigpt(*command(run), cwd=run.parents[1])
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (done.returncode, len(lines)) == (2, 1), done.stderr
    assert "Traceback" not in done.stderr
    for part in expected:
        assert part in lines[0]


def test_text_that_is_not_utf8_is_named_with_file_and_byte(run: Path) -> None:
    path = run.parents[1] / "broken.txt"
    path.write_bytes("é".encode() * 10 + b"\xff")
    done = minigpt("evaluate", run, "--text", path, cwd=run.parents[1])
    assert done.returncode == 2
    assert f"{path}: not UTF-8 at byte 20" in done.stderr


def test_a_damaged_metrics_file_is_named_with_its_line(run: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(run, damaged)
    lines = (damaged / "metrics.jsonl").read_text().splitlines(keepends=True)
    (damaged / "metrics.jsonl").write_text("".join([lines[0], "{" * (len(lines[1]) - 1) + "\n", *lines[2:]]))
    done = minigpt("train", "--resume", damaged, cwd=run.parents[1])
    assert done.returncode == 2
    assert "metrics.jsonl, line 2: not JSON" in done.stderr


def test_a_config_error_is_found_before_torch_is_imported(run: Path) -> None:
    script = (
        "import sys; from minigpt import cli; sys.argv = ['minigpt', 'train', sys.argv[1], 'model.n_layers=0']\n"
        "try: cli.main()\n"
        "except SystemExit as end: print(end.code, 'torch' in sys.modules)"
    )
    import subprocess
    import sys

    done = subprocess.run([sys.executable, "-c", script, str(RECIPE)], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["2", "False"]


def test_the_schema_for_editors_is_up_to_date() -> None:
    from minigpt.recipes import json_schema

    assert (RECIPE.parent / "schema.json").read_text() == json_schema()
    assert json.loads(json_schema())["$defs"]["ModelConfig"]["properties"]["n_layers"]["minimum"] == 1


@pytest.mark.parametrize("path", sorted(RECIPE.parent.rglob("*.yaml")), ids=lambda path: path.name)
def test_every_recipe_that_comes_with_minigpt_is_valid(path: Path) -> None:
    assert load_recipe(path).model.d_model > 0
