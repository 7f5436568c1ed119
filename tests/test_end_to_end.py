"""The whole way of a user: train, sample, evaluate, move the run."""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import pytest
from conftest import RECIPE, TINY, minigpt

from minigpt.data.progress import bar
from minigpt.evaluation.text import assess
from minigpt.generation.sampler import Request, Sampler
from minigpt.runs import load_run


def sample(run: Path, *options: object, stdin: str = "") -> str:
    done = minigpt("sample", run, *options, cwd=run.parents[1], stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_run_is_a_folder_with_all_that_the_design_names(run: Path) -> None:
    names = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert {"config.yaml", "tokenizer.json", "metrics.jsonl", "report.html", "checkpoints/index.json"} <= names
    last = "checkpoints/step-00000012"
    assert {f"{last}/model.safetensors", f"{last}/training_state.pt", f"{last}/metadata.json"} <= names


def test_a_run_ends_with_a_sample_how_good_it_is_and_where_to_look(run: Path) -> None:
    done = minigpt("train", "--resume", run, cwd=run.parents[1])
    figures = json.loads(minigpt("evaluate", run, "--checkpoint", "last", "--json", cwd=run.parents[1]).stdout)
    assert f"over the whole validation text {figures['loss']:.4f}, {figures['gap']:.1%} above" in done.stdout
    assert f"{run}/report.html" in done.stdout


def test_training_lowers_the_loss(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    losses = [line["validation_loss"] for line in lines if "validation_loss" in line]
    assert losses[-1] < losses[0] - 0.1
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 13))


def test_the_last_and_the_best_checkpoint_are_kept_whole_and_the_weights_of_some_others(run: Path) -> None:
    index = json.loads((run / "checkpoints" / "index.json").read_text())
    kept = {int(path.name[5:]): {file.name for file in path.iterdir()} for path in run.glob("checkpoints/step-*")}
    assert set(kept) == {0, 6, 9, 12}  # of five checkpoints, three may stay, and the good one before the last
    for step, files in kept.items():
        assert ("training_state.pt" in files) == (step in index.values())
        assert {"model.safetensors", "metadata.json"} <= files


def test_a_run_works_after_it_was_moved(run: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere" / "model"
    shutil.copytree(run, moved)
    assert sample(moved, "--seed", 3) == sample(run, "--seed", 3)


def test_its_own_config_repeats_a_run(run: Path, tmp_path: Path) -> None:
    again = minigpt("train", run / "config.yaml", f"run.directory={tmp_path / 'again'}", cwd=run.parents[1])
    assert again.returncode == 0, again.stderr
    weights = "checkpoints/step-00000012/model.safetensors"
    assert (run / weights).read_bytes() == (tmp_path / "again" / weights).read_bytes()


def test_the_same_seed_writes_the_same_text_alone_and_in_a_batch_of_any_order(run: Path) -> None:
    assert sample(run, "--seed", 1) == sample(run, "--seed", 1)
    assert sample(run, "--seed", 1) != sample(run, "--seed", 2)
    texts = json.loads(sample(run, "--n-samples", 4, "--json"))["samples"]
    assert len(set(texts)) > 1


def test_a_prompt_comes_from_argument_file_or_standard_input(run: Path, tmp_path: Path) -> None:
    (tmp_path / "prompt.txt").write_text("A cat")
    by_argument = sample(run, "--prompt", "A cat")
    assert by_argument.startswith("A cat")
    assert by_argument == sample(run, "--prompt-file", tmp_path / "prompt.txt")
    assert by_argument == sample(run, "--prompt", "-", stdin="A cat")


def test_a_stop_text_ends_the_sample(run: Path) -> None:
    free = sample(run, "--seed", 1, "--max-new-tokens", 60)
    stopped = sample(run, "--seed", 1, "--max-new-tokens", 60, "--stop", free[5:8])
    assert stopped.strip() == free[: free.index(free[5:8])].strip()


def test_the_interactive_mode_continues_line_after_line(run: Path) -> None:
    words = ["--interactive", "--stop", "\n"]
    lines = sample(run, *words, stdin="One\nTwo\n").splitlines()
    assert [line[:3] for line in lines] == ["One", "Two"]
    assert sample(run, *words, "--prompt", "Zero", stdin="One\nTwo\n").splitlines()[1:] == lines


def test_an_interrupt_ends_a_text_and_the_next_line_is_continued(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces, prompts = Sampler.pieces, list[str]()

    def interrupted(self: Sampler, request: Request) -> Iterator[tuple[int, str]]:
        prompts.append(request.prompt)
        for place, piece in enumerate(pieces(self, request)):
            if prompts == ["One"] and place == 2:
                raise KeyboardInterrupt
            yield piece

    monkeypatch.setattr(Sampler, "pieces", interrupted)
    text = sample(run, "--interactive", stdin="One\nTwo\n")
    assert prompts == ["One", "Two"]
    assert text.startswith("One")
    assert "\nTwo" in text


def test_a_log_has_lines_and_no_carriage_returns(run: Path) -> None:
    done = minigpt("train", RECIPE, "run.name=logged", *TINY, cwd=run.parents[1])
    assert "\r" not in done.stderr
    lines = done.stderr.splitlines()
    assert any(line.startswith("inside   ") for line in lines)
    evaluations = [line for line in lines if "validation loss" in line]
    drawings = [line for line in lines if " left, step " in line]
    assert evaluations
    assert 0 < len(drawings) <= len(evaluations) + 1
    assert re.search(r"\d\d:\d\d left, step 1, loss ", drawings[0]), "the first tells something"
    assert [line for line in lines if "%|" in line] == drawings
    assert len(set(lines)) == len(lines)


def test_the_version_is_told(tmp_path: Path) -> None:
    assert minigpt("--version", cwd=tmp_path).stdout == f"minigpt {metadata.version('minigpt')}\n"


def test_a_text_longer_than_the_context_is_written(run: Path) -> None:
    done = json.loads(sample(run, "--json", "--max-new-tokens", 100, "--prompt", "Once " * 50))
    assert len(done["samples"][0]) > 40


def test_evaluation_covers_the_whole_validation_text(run: Path) -> None:
    done = minigpt("evaluate", run, "--json", cwd=run.parents[1])
    figures = json.loads(done.stdout)
    strided = json.loads(minigpt("evaluate", run, "--json", "--stride", 8, cwd=run.parents[1]).stdout)
    assert figures["tokens"] == strided["tokens"]
    assert figures["bits_per_byte"] * figures["bytes"] * 0.6931 == pytest.approx(
        figures["loss"] * figures["tokens"], rel=1e-3
    )
    assert figures["gap"] == pytest.approx(figures["loss"] / figures["entropy"] - 1)
    assert 0.2 < figures["entropy"] < figures["loss"]


def test_evaluation_of_a_text_of_ones_own(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("A cat sat. " * 30)
    figures = json.loads(minigpt("evaluate", run, "--text", path, "--json", cwd=tmp_path).stdout)
    assert figures["bytes"] == pytest.approx(330, abs=12)


def test_of_a_text_of_ones_own_the_whole_validation_part_is_evaluated(run: Path, tmp_path: Path) -> None:
    loaded = load_run(run)
    data = loaded.config.data.model_copy(update={"max_documents": 1})
    limited = replace(loaded, config=loaded.config.model_copy(update={"data": data}))
    (tmp_path / "train.txt").write_text("A dog sat. " * 30)
    (tmp_path / "validation.jsonl").write_text('{"text": "A cat"}\n' * 2)
    assert assess(limited, str(tmp_path))["tokens"] == 2 * len(loaded.tokenizer.encode("A cat"))


def test_a_text_of_ones_own_is_learned_by_characters(workplace: Path, run: Path, tmp_path: Path) -> None:
    text = tmp_path / "mine.txt"
    text.write_text("the quick brown fox jumps over the lazy dog. " * 100)
    changes = [f"data.source={text}", "tokenizer.kind=character", f"run.directory={tmp_path / 'fox'}"]
    done = minigpt("train", RECIPE, *TINY, *changes, "training.max_steps=150", cwd=workplace)
    assert done.returncode == 0, done.stderr
    written = minigpt("sample", tmp_path / "fox", "--temperature", 0, "--prompt", "the quick", cwd=workplace).stdout
    assert written.startswith("the quick brown")
    refused = minigpt("sample", tmp_path / "fox", "--prompt", "é", cwd=workplace)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "'é' (U+00E9)" in refused.stderr


def test_the_report_is_one_file_that_asks_nothing_of_the_network(run: Path) -> None:
    page = (run / "report.html").read_text()
    outside_scripts = re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", outside_scripts)
    assert "<script src" not in page
    for part in ("validation loss", "What it wrote", "Settings", "d_model: 32"):
        assert part in outside_scripts


def test_a_log_tells_of_long_work_from_its_first_second_and_then_every_ten(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    with bar(desc="learning", total=60, delay=1.0, leave=False) as shown:
        monkeypatch.setattr(shown, "_time", lambda: clock[0])
        shown.start_t, shown.last_print_t = 0.0, shown.last_print_t - shown.start_t
        for second in range(30):
            clock[0] = float(second)
            shown.update()
    told = [line for line in capsys.readouterr().err.splitlines() if line]
    assert [int(line.split("| ")[1].split("/")[0]) for line in told] == [2, 12, 22]
