"""Runs side by side: what differs, what came out, whether that is more than chance."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from browser import chromium, needs_chromium
from conftest import RECIPE, TINY, minigpt

from minigpt.errors import UserError
from minigpt.experiments.chance import noise
from minigpt.experiments.compare import Setting, compare, verdict
from minigpt.experiments.compare_page import compare_page, measured
from minigpt.storage.metrics import metrics_line


@pytest.fixture
def runs(run: Path, tmp_path: Path) -> list[Path]:
    """Two seeds of each of two learning rates, with losses of our choice."""
    paths = []
    for rate, seed, loss in ((0.02, 1, 2.0), (0.02, 2, 2.2), (0.04, 1, 1.5), (0.04, 2, 1.51)):
        path = tmp_path / f"rate{rate}_seed{seed}"
        shutil.copytree(run, path)
        recipe = yaml.safe_load((path / "config.yaml").read_text())
        recipe["optimizer"]["learning_rate"] = rate
        recipe["run"] |= {"seed": seed, "name": path.name}
        (path / "config.yaml").write_text(yaml.safe_dump(recipe))
        line = {
            "step": 12,
            "tokens": 90,
            "seconds": 6.0,
            "validation_loss": loss,
            "bits_per_byte": loss / 2,
            "sample": "",
        }
        speeds = [{"step": i, "tokens": 10 * i, "seconds": 1.0, "loss": 3.0, "tokens_per_second": i} for i in (1, 2, 6)]
        earlier = {**line, "step": 5, "validation_loss": loss - 0.1}
        (path / "metrics.jsonl").write_text("".join(map(metrics_line, [*speeds, earlier, line])))
        paths.append(path)
    return paths


def test_only_what_differs_is_shown_with_what_came_out(runs: list[Path]) -> None:
    comparison = compare(runs)
    assert [run.settings for run in comparison.runs] == [
        {"run.seed": seed, "optimizer.learning_rate": rate} for rate in (0.02, 0.04) for seed in (1, 2)
    ]
    first = comparison.runs[0]
    assert (first.loss, first.best_loss, first.bits_per_byte) == (2.0, 1.9, 1.0)
    assert (first.steps, first.tokens, first.seconds, first.tokens_per_second) == (12, 90, 6.0, 2)
    assert comparison.notes == []


def test_seeds_are_one_setting_and_the_best_setting_comes_first(runs: list[Path]) -> None:
    best, other = compare(runs).settings
    assert best.settings == {"optimizer.learning_rate": 0.04}
    assert best.mean == pytest.approx(1.505)
    assert best.spread == pytest.approx(0.01 / 2**0.5)
    assert other.results == [2.0, 2.2]


def test_the_interval_is_welchs() -> None:
    # Variances 1 and 4 of three values each: 25/9 / (17/18) = 2.9 degrees of freedom, of which 2 are taken.
    assert noise([1, 2, 3], [2, 4, 6]) == pytest.approx(4.303 * (5 / 3) ** 0.5, rel=1e-3)
    assert noise([1, 2], [3]) is None


@pytest.mark.parametrize(
    ("others", "words"),
    [([1.5, 1.7], "not more than the noise"), ([2.5, 2.51], "more than the noise"), ([2.5], "seeds alone may do")],
)
def test_a_difference_is_told_from_noise(others: list[float], words: str) -> None:
    best, other = Setting({"a.b": 1}, [], [1.4, 1.42]), Setting({"a.b": 2}, [], others)
    told = verdict(best, other, "loss")
    assert told.endswith(words) or words in told
    assert ("not more" in told) == ("not more" in words)


def test_other_tokens_and_other_texts_are_told(runs: list[Path]) -> None:
    for path, key, value in ((runs[0], "tokenizer", {"vocab_size": 300}), (runs[1], "data", {"stories_seed": 5})):
        recipe = yaml.safe_load((path / "config.yaml").read_text())
        recipe[key] |= value
        (path / "config.yaml").write_text(yaml.safe_dump(recipe))
    comparison = compare(runs)
    assert comparison.measure == "bits_per_byte"
    assert sorted(note.split(",")[0] for note in comparison.notes) == [
        "note: their tokens differ",
        "note: these runs were judged by different texts",
    ]


def test_a_run_that_has_not_ended_is_told_and_where_something_lies_does_not_matter(runs: list[Path]) -> None:
    lines = (runs[0] / "metrics.jsonl").read_text().splitlines()
    (runs[0] / "metrics.jsonl").write_text("\n".join(lines[:-1]) + "\n")
    recipe = yaml.safe_load((runs[1] / "config.yaml").read_text())
    recipe["data"]["directory"] = "elsewhere"
    (runs[1] / "config.yaml").write_text(yaml.safe_dump(recipe))
    (note,) = compare(runs).notes
    assert note.endswith(f"(training, stopped or pruned): {runs[0].name}")


def test_patience_ends_a_run_only_where_nothing_better_has_come(runs: list[Path]) -> None:
    for path, patience in zip(runs, (1, 2, 1, 1), strict=True):  # one evaluation after the best
        recipe = yaml.safe_load((path / "config.yaml").read_text())
        recipe["training"] |= {"max_steps": 1000, "patience": patience}
        (path / "config.yaml").write_text(yaml.safe_dump(recipe))
    told = next(note for note in compare(runs).notes if "(training, stopped or pruned)" in note)
    assert told.endswith(f": {runs[1].name}")


def test_the_same_seed_twice_is_one_result(runs: list[Path]) -> None:
    recipe = yaml.safe_load((runs[3] / "config.yaml").read_text())
    recipe["run"]["seed"] = 1
    (runs[3] / "config.yaml").write_text(yaml.safe_dump(recipe))
    comparison = compare(runs)
    assert comparison.settings[0].results == [pytest.approx(1.505)]
    assert "seeds alone may do" in comparison.verdicts[0]


def test_what_a_shells_pattern_names_beside_runs_is_left_out(runs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "compare.html").touch()
    (tmp_path / "study").mkdir()
    done = minigpt("compare", *sorted(path.name for path in tmp_path.iterdir()), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if line.startswith("rate")]) == 4
    assert "study is not a run's folder" in done.stderr
    done = minigpt("compare", "rate0.02_seed1", "rate0.02_seed2", "typo", cwd=tmp_path)
    assert (done.returncode, "typo" in done.stderr) == (2, True)


@pytest.mark.parametrize("line", ["[]", '{"step": 21}', '{"step": 21, "tokens": 1, "seconds": 1.0, "loss": NaN}'])
def test_a_damaged_line_is_told(runs: list[Path], line: str, tmp_path: Path) -> None:
    with (runs[0] / "metrics.jsonl").open("a") as file:
        file.write(line + "\n")
    done = minigpt("compare", *runs, cwd=tmp_path)
    assert done.returncode == 2
    assert f"{runs[0]}/metrics.jsonl, line 6: " in done.stderr


def test_a_pattern_that_is_none_is_told(runs: list[Path], tmp_path: Path) -> None:
    done = minigpt("compare", "**a", *runs, cwd=tmp_path)
    assert (done.returncode, "**a: not a pattern" in done.stderr) == (2, True)


def test_a_run_that_was_not_evaluated_yet_is_shown_and_not_judged(runs: list[Path]) -> None:
    (runs[0] / "metrics.jsonl").write_text("")
    comparison = compare(runs)
    assert comparison.runs[0].loss is None
    assert [len(setting.results) for setting in comparison.settings] == [2, 1]
    assert "-" in comparison.rows()[1]


@pytest.mark.parametrize(("names", "words"), [([0], "at least two"), ([0, 0], "named twice")])
def test_too_few_runs_are_told(runs: list[Path], names: list[int], words: str) -> None:
    with pytest.raises(UserError, match=words):
        compare([runs[i] for i in names])


def test_the_command_prints_a_table_a_page_or_json(runs: list[Path], tmp_path: Path) -> None:
    done = minigpt("compare", "rate*", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len([line for line in done.stdout.splitlines() if line.startswith("rate")]) == 4
    assert "is better than optimizer.learning_rate=0.02 by 0.5950" in done.stdout
    assert (tmp_path / "compare.html").is_file()
    document = json.loads(minigpt("compare", "rate*", "--json", "--prompt", "A cat", cwd=tmp_path).stdout)
    assert all(text.startswith("A cat") for text in document["samples"].values())
    assert len(document["samples"]) == len(document["runs"]) == 4
    assert len(set(document["samples"].values())) == 1, "the same weights write the same, whatever the run's seed"
    shutil.rmtree(runs[0] / "checkpoints")
    document = json.loads(minigpt("compare", "rate*", "--json", "--prompt", "A cat", cwd=tmp_path).stdout)
    assert list(document["samples"]) == [run["run"] for run in document["runs"][1:]]
    assert f"no sample of {document['runs'][0]['run']}" in document["notes"][-1]
    (runs[1] / "tokenizer.json").write_text("{")
    done = minigpt("compare", "rate*", cwd=tmp_path)
    assert (done.returncode, "tokenizer.json: damaged" in done.stderr) == (2, True)
    done = minigpt("compare", "nothing*", cwd=tmp_path)
    assert (done.returncode, "nothing*: no run" in done.stderr) == (2, True)


@needs_chromium
def test_the_page_draws_the_curves_over_steps_tokens_or_seconds(runs: list[Path], tmp_path: Path) -> None:
    page_file = tmp_path / "page.html"
    page_file.write_text(compare_page(compare(runs), [("one", "</pre><script>document.title='taken'</script>")]))

    def axes(page: Any) -> Any:
        return page.evaluate(
            "[...document.querySelectorAll('.chart')].map(({layout, data}) => [layout.xaxis.title.text, data[0].x])"
        )

    with chromium(viewport={"width": 400, "height": 800}) as page:
        page.goto(f"file://{page_file}")
        assert page.title() == "4 runs compared – minigpt"
        page.wait_for_function("[...document.querySelectorAll('.chart')].every((place) => place.layout)")
        assert axes(page) == [["step", [5, 12]], ["step", [1, 2, 6]]]
        page.select_option("#axis", "tokens")
        page.wait_for_function("document.querySelectorAll('.chart')[1].layout.xaxis.title.text === 'tokens'")
        assert axes(page) == [["tokens", [90, 90]], ["tokens", [10, 20, 60]]]
        assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_what_follows_from_other_settings_is_left_out_and_what_does_not_is_shown(runs: list[Path]) -> None:
    for path, shape in ((runs[0], {"n_heads": 4, "n_kv_heads": 4, "d_head": 8}), (runs[1], {"n_kv_heads": 1})):
        recipe = yaml.safe_load((path / "config.yaml").read_text())
        recipe["model"] |= shape
        (path / "config.yaml").write_text(yaml.safe_dump(recipe))
    several = compare(runs[:2]).runs[0].settings  # one key head for two query heads follows from nothing
    assert list(several) == ["run.seed", "model.n_heads", "model.n_kv_heads"]
    comparison = compare([runs[0], runs[2]])
    assert list(comparison.runs[0].settings) == ["model.n_heads", "optimizer.learning_rate"]
    assert comparison.rows()[0][:3] == ["run", "model.n_heads", "optimizer.learning_rate"]
    assert comparison.common["model.d_model"] == 32
    assert not {"model.n_heads", "model.d_head", "run.name"} & comparison.common.keys()


def test_the_entropy_is_drawn_in_what_runs_are_judged_by() -> None:
    line = {"step": 5, "tokens": 9, "seconds": 1.0, "validation_loss": 2.0, "bits_per_byte": 0.5, "entropy": 1.0}
    assert [measured([line], measure)[0]["floor"] for measure in ("loss", "bits_per_byte")] == [1.0, 0.25]


def test_the_same_text_in_two_places_is_one_text(tmp_path: Path) -> None:
    for name in ("here", "there"):
        text = tmp_path / f"{name}.txt"
        text.write_text("the cat sat on the mat, " * 400)
        command = ["train", RECIPE, *TINY, f"run.name={name}", f"data.source={text}", "training.max_steps=2"]
        assert minigpt(*command, cwd=tmp_path).returncode == 0
    comparison = compare([tmp_path / "runs" / name for name in ("here", "there")])
    assert comparison.comparable
    assert comparison.runs[0].settings == {}
