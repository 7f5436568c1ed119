"""Bad input gets one `error:` line that names what is wrong, and exit status 2."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import RECIPE, TINY, minigpt

from minigpt.runs import RunFolder, read_index
from minigpt.storage.checksums import sealed

COMMANDS: dict[str, tuple[Callable[[Path], list[object]], list[str]]] = {
    "missing recipe": (lambda run: ["train", "configs/none.yaml"], ["configs/none.yaml", "no such recipe"]),
    "unknown option": (lambda run: ["train", RECIPE, "--fast"], ["--fast"]),
    "unknown command": (lambda run: ["trane"], ["trane"]),
    "no recipe": (lambda run: ["train"], ["recipe"]),
    "missing text": (
        lambda run: ["train", RECIPE, *TINY, "run.name=x", "data.source=nothing.txt"],
        ["data.source = nothing.txt", "no such file"],
    ),
    "text shorter than a context": (
        lambda run: [
            "train",
            RECIPE,
            *TINY,
            "run.name=x",
            f"data.source={run / 'config.yaml'}",
            "run.compile=false",
            "model.context_length=4096",
        ],
        ["config.yaml: its training part has", "model.context_length = 4096"],
    ),
    "run that exists": (lambda run: ["train", RECIPE, *TINY, "run.name=tiny"], ["exists already", "--resume"]),
    "not a run": (lambda run: ["sample", run.parent], ["not a run folder"]),
    "no such checkpoint": (lambda run: ["sample", run, "--checkpoint", "7"], ["--checkpoint 7", "best"]),
    "bad temperature": (lambda run: ["sample", run, "--temperature", "-1"], ["--temperature", "greater than"]),
    "bad top-p": (lambda run: ["sample", run, "--top-p", "0"], ["--top-p"]),
    "missing prompt file": (lambda run: ["sample", run, "--prompt-file", "none.txt"], ["none.txt", "cannot be read"]),
    "no such device": (lambda run: ["sample", run, "--device", "cuda:9"], ["--device cuda", "CUDA"]),
    "unknown device": (lambda run: ["sample", run, "--device", "tpu"], ["--device tpu", "cuda:N"]),
    "seed too large": (lambda run: ["sample", run, "--seed", 2**64], ["--seed", str(2**63 - 1)]),
    "run in the place of a file": (
        lambda run: ["train", RECIPE, *TINY, f"run.directory={run / 'config.yaml'}"],
        ["config.yaml", "run.directory"],
    ),
    "data in the place of a file": (
        lambda run: ["train", RECIPE, *TINY, "run.name=y", f"data.directory={run / 'config.yaml'}"],
        ["config.yaml", "data.directory"],
    ),
    "missing evaluation text": (
        lambda run: ["evaluate", run, "--text", "none.txt"],
        ["--text none.txt", "no such file"],
    ),
    "unknown tokenizer": (lambda run: ["config", RECIPE, "tokenizer.kind=bep"], ["tokenizer.kind", "'bpe'"]),
    "absurd size": (
        lambda run: ["config", RECIPE, "model.d_model=65536", "model.n_layers=99"],
        ["GB", "lower model.d_model"],
    ),
    "checkpoint not as it is written": (lambda run: ["sample", run, "--checkpoint", "012"], ["--checkpoint 012"]),
    "checkpoint in other digits": (lambda run: ["sample", run, "--checkpoint", "١٢"], ["--checkpoint ١٢"]),
    "empty stop": (lambda run: ["sample", run, "--interactive", "--stop", ""], ["--stop"]),
    "interactive and JSON": (lambda run: ["sample", run, "--interactive", "--json"], ["--interactive or --json"]),
    "resume and overwrite": (lambda run: ["train", "--resume", run, "--overwrite"], ["--overwrite"]),
    "no such home": (lambda run: ["train", RECIPE, *TINY, "run.name=z", "data.source=~no-such-user/x"], ["without ~"]),
    "not an address": (
        lambda run: ["train", RECIPE, *TINY, "run.name=z", "data.source=https://[::1"],
        ["data.source = https://[::1", "cannot be fetched"],
    ),
    "other folder": (
        lambda run: ["train", RECIPE, *TINY, f"run.directory={run.parents[1]}", "--overwrite"],
        ["holds other things than a run"],
    ),
    "stride too long": (lambda run: ["evaluate", run, "--stride", "99"], ["--stride 99", "32"]),
    "resume changes the model": (lambda run: ["train", "--resume", run, "model.n_layers=3"], ["n_layers = 3: cannot"]),
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


def damage_state(run: Path, **progress: object) -> None:
    path = run / "checkpoints" / "step-00000012" / "training_state.pt"
    state = torch.load(path, weights_only=True)
    state["progress"] |= progress
    torch.save(state, path)


def put_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


STATE = Path("checkpoints/step-00000012/training_state.pt")
DAMAGES: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "metrics not text": (lambda run: (run / "metrics.jsonl").write_bytes(b"\xff" * 9999 + b"\n"), ["line 1"]),
    "metrics a folder": (lambda run: put_folder(run / "metrics.jsonl"), ["metrics.jsonl: not a file of at most"]),
    "state of another": (
        lambda run: damage_state(run, step=7),
        [str(STATE), "another checkpoint with --checkpoint: 9"],
    ),
    "state not torch's": (lambda run: (run / STATE).write_bytes(b"\x80"), [str(STATE), "checksum is another"]),
    "state away": (lambda run: (run / STATE).unlink(), [str(STATE), "No such file", "--checkpoint"]),
    "checkpoints away": (lambda run: shutil.rmtree(run / "checkpoints"), ["has no checkpoint; copy", "--overwrite"]),
    "weights short": (
        lambda run: (run / STATE).with_name("model.safetensors").write_bytes(b"x"),
        ["model.safetensors: damaged", "--checkpoint: 9"],
    ),
    "tokenizer away": (lambda run: (run / "tokenizer.json").unlink(), ["tokenizer.json", "No such file"]),
    "config a folder": (lambda run: put_folder(run / "config.yaml"), ["not a run folder"]),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_run_is_not_resumed_and_loses_nothing(name: str, run: Path, tmp_path: Path) -> None:
    damage, expected = DAMAGES[name]
    damaged = tmp_path / "damaged"
    shutil.copytree(run, damaged)
    damage(damaged)
    before = {path: path.read_bytes() for path in damaged.rglob("*") if path.is_file()}
    done = minigpt("train", "--resume", damaged, "training.max_steps=15", cwd=run.parents[1])
    (error,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert done.returncode == 2
    for part in expected:
        assert part in error
    after = {path: path.read_bytes() for path in damaged.rglob("*") if path.is_file()}
    assert {path: before[path] for path in before if path.name != "config.yaml"} == {
        path: after[path] for path in after if path.name != "config.yaml"
    }


def test_a_run_whose_last_state_is_damaged_goes_on_from_the_one_before(run: Path, tmp_path: Path) -> None:
    damaged = RunFolder(tmp_path / "damaged")
    shutil.copytree(run, damaged.path)
    damage_state(damaged.path, step=7)
    done = minigpt("train", "--resume", damaged.path, "--checkpoint", "9", cwd=run.parents[1])
    assert done.returncode == 0, done.stderr
    parts = [path / "checkpoints/step-00000012/model.safetensors" for path in (run, damaged.path)]
    assert parts[0].read_bytes() == parts[1].read_bytes()
    goes_on, whole = (read_index(folder) for folder in (damaged, RunFolder(run)))
    assert (goes_on.last, goes_on.best, goes_on.previous) == (whole.last, whole.best, whole.previous)


INDEX_DAMAGES: dict[str, Callable[[Path], object]] = {
    "away": Path.unlink,
    "empty": lambda path: path.write_text(""),
    "endless": lambda path: path.write_text('{"last": 1e999, "best": null}'),
    "too deep": lambda path: path.write_text("[" * 100_000),
    "changed": lambda path: path.write_text(path.read_text().replace("12", " 6")),
    "of no use": lambda path: path.write_bytes(sealed({"last": -1, "best": None})),
    "a folder": put_folder,
}


@pytest.mark.parametrize("name", INDEX_DAMAGES)
def test_a_damaged_index_is_put_together_again(name: str, run: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    shutil.copytree(run, folder.path)
    INDEX_DAMAGES[name](folder.index)
    assert read_index(folder).last == 12
    if name != "a folder":
        done = minigpt("train", "--resume", folder.path, "training.max_steps=15", cwd=run.parents[1])
        assert (done.returncode, "step 12 is the last whole checkpoint" in done.stderr) == (0, True), done.stderr
        assert read_index(folder).last == 15


def test_a_run_whose_metrics_are_away_goes_on_with_a_warning(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    lines = (copy / "metrics.jsonl").read_text().splitlines(keepends=True)
    (copy / "metrics.jsonl").write_text("".join(lines[:3]) + lines[3][:-9])
    done = minigpt("train", "--resume", copy, "training.max_steps=15", cwd=run.parents[1])
    assert done.returncode == 0, done.stderr
    assert "metrics.jsonl: does not go up to the last checkpoint or evaluation" in done.stderr
    steps = [json.loads(line)["step"] for line in (copy / "metrics.jsonl").read_text().splitlines()]
    assert steps == [json.loads(line)["step"] for line in lines[:3]] + [12, 13, 14, 15, 15]


@pytest.mark.parametrize(("missing", "checkpoint"), [(slice(2, 3), "last"), (slice(6, 7), "9"), (slice(5, 7), "last")])
def test_a_run_of_whose_metrics_lines_are_missing_goes_on_and_has_no_step_twice(
    missing: slice, checkpoint: str, run: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    lines = (copy / "metrics.jsonl").read_text().splitlines(keepends=True)
    del lines[missing]
    (copy / "metrics.jsonl").write_text("".join(lines))
    done = minigpt("train", "--resume", copy, "--checkpoint", checkpoint, cwd=run.parents[1])
    assert done.returncode == 0, done.stderr
    assert "metrics.jsonl: does not go up to the last checkpoint or evaluation" in done.stderr
    steps = [json.loads(line)["step"] for line in (copy / "metrics.jsonl").read_text().splitlines()]
    assert steps == [json.loads(line)["step"] for line in lines]


def test_what_cannot_be_trained_leaves_the_old_run_and_no_new_folder(run: Path, tmp_path: Path) -> None:
    for change in ("data.validation_fraction=1e-300", "model.vocab_size=5", "model.d_model=65536"):
        done = minigpt("train", RECIPE, *TINY, "run.name=tiny", "--overwrite", change, cwd=run.parents[1])
        assert done.returncode == 2, done.stderr
        assert change.split("=")[0].partition(".")[2] in done.stderr
        assert (run / "metrics.jsonl").exists()
        minigpt("train", RECIPE, *TINY, "run.name=nothing", change, cwd=run.parents[1])
        assert not (run.parent / "nothing").exists()


def test_stories_without_a_known_beginning_are_evaluated_without_their_entropy(run: Path) -> None:
    done = minigpt("train", RECIPE, *TINY, "run.name=one", "data.max_documents=1", cwd=run.parents[1])
    assert done.returncode == 0, done.stderr
    assert "above the entropy" not in done.stdout


@pytest.mark.parametrize("words", [["tokenize", "A cat"], ["explain", "RUN", "--no-open"], ["export", "RUN"]])
def test_a_folder_in_the_place_of_the_output_is_told(words: list[str], run: Path, tmp_path: Path) -> None:
    done = minigpt(*(word.replace("RUN", str(run)) for word in words), "--output", ".", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert "choose another --output" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_an_error_is_short_and_gives_a_terminal_no_orders(run: Path) -> None:
    for words in (["embeddings", run, "a" * 100_000], ["embeddings", run, "\x1b[31mred"], ["sample", "\x1b[31mred"]):
        done = minigpt(*words, cwd=run.parents[1])
        assert (done.returncode, done.stderr.count("\n"), "\x1b" in done.stderr) == (2, 1, False)
        assert len(done.stderr) < 1000


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
    assert "metrics.jsonl, line 2: not what was written" in done.stderr


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
