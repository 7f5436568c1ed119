"""Searches: what a file means, and that no trial is lost or done twice, whatever happens to its process."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from itertools import accumulate
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
import torch
import yaml
from browser import chromium, needs_chromium
from conftest import minigpt
from forked import forked, started
from optuna.storages._heartbeat import HeartbeatThread

from minigpt.cli import sweep as command
from minigpt.config.hyperparameters import Config
from minigpt.config.recipe import load_recipe
from minigpt.errors import UserError
from minigpt.experiments import sweep as sweeping
from minigpt.experiments import sweep_page
from minigpt.experiments.search import load_search
from minigpt.experiments.storage import Storage
from minigpt.training import run as starting
from minigpt.training.interruption import Interrupted

RECIPE = {
    "data": {"source": "stories", "n_stories": 100},
    "tokenizer": {"kind": "byte"},
    "model": {"context_length": 16, "n_layers": 1, "n_heads": 2, "d_model": 16},
    "training": {"batch_size": 2, "max_steps": 4, "evaluate_every": 2, "evaluation_tokens": 64},
    "sampling": {"max_new_tokens": 2},
    "run": {"compile": False},
}
SPACE: dict[str, Any] = {"optimizer.learning_rate": {"low": 0.001, "high": 0.1, "log": True}}


def write(folder: Path, **parts: Any) -> Path:
    """A recipe and a search over it."""
    (folder / "tiny.yaml").write_text(yaml.safe_dump(RECIPE))
    search = {"recipe": "tiny.yaml", "study": {"name": "s", "trials": 4}, "space": SPACE, **parts}
    path = folder / "search.yaml"
    path.write_text(yaml.safe_dump(search, sort_keys=False))
    return path


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that cannot be opened is tried again at once."""
    monkeypatch.setattr(sweeping, "time", SimpleNamespace(sleep=lambda _: None))


def trials(folder: Path) -> list[optuna.trial.FrozenTrial]:
    study = optuna.load_study(study_name="s", storage=f"sqlite:///{folder}/runs/s/study.db")
    return sweeping.counted(study)


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"space": {"model.d_modle": [1]}}, "did you mean 'model.d_model'"),
        ({"space": {"run.seed": [1]}}, "run.seed cannot be searched or changed here: name seeds in study.seeds"),
        ({"space": {"model.d_model": {"low": 2, "high": 64, "step": 0.5}}}, "step (0.5) must be a whole number"),
        ({"space": {"model.d_model": {"low": 2, "high": 10**400}}}, "search.yaml: space.model.d_model.high"),
        (
            {"space": {"optimizer.epsilon": {"low": -1.7e308, "high": 1.7e308}}},
            "search.yaml: space.optimizer.epsilon.low",
        ),
        ({"space": {"model.d_model": [[16, 32]]}}, "must be a number, a text, true, false or null"),
        ({"changes": {"model": {"d_model": 16}}}, "changes.model: must be a number, a text, true, false or null"),
        (
            {"space": {**SPACE, "model.d_model": {"choices": [16], "when": {"optimizer.learning_rate": 5}}}},
            "when waits for optimizer.learning_rate = 5, which it never is",
        ),
        ({"recipe": "a\0b"}, "search.yaml: recipe"),
        ({"space": {"model.d_model": {"low": 8, "high": 4}}}, "low (8) must be below high (4)"),
        ({"space": {"model.d_model": {"low": 8}}}, "list of choices, or have low and high"),
        ({"space": {"model.d_model": {"low": 0, "high": 4, "log": True}}}, "low must be positive"),
        ({"space": {"model.d_model": {"choices": [16], "when": {"model.n_layers": 2}}}}, "not searched before it"),
        ({"study": {"sampler": "grid"}}, "a grid needs choices"),
        ({"study": {"name": "s"}}, "so that the search has an end"),
        ({"study": {"trials": 4, "sampler": "bayes"}}, "'tpe', 'random' or 'grid'"),
        ({"study": {"trails": 4}}, "search.yaml: study.trails = 4: unknown key; did you mean 'study.trials'"),
        ({"study": {"name": "my study", "trials": 4}}, "search.yaml: study.name"),
        ({"study": {"trials": 4, "seeds": [1, 1]}}, "seeds must differ"),
        ({"study": {"trials": 4, "seeds": [-1]}}, "greater than or equal to 0"),
        (
            {"space": {"model.n_layers": [1, 2], "model.d_model": {"choices": [16], "when": {"model.n_layers": 3}}}},
            "when waits for model.n_layers = 3, which it never is",
        ),
        ({"changes": {"training.batch_size": 0}}, "search.yaml: training.batch_size = 0: "),
        ({"recipe": "tinny.yaml"}, "no such recipe"),
        (
            {"changes": {"model.n_layers": 3}, "space": {"model.n_layers": [1, 2]}},
            "model.n_layers is changed and searched; take it out of changes or out of space",
        ),
        ({"changes": {"training.batch_size": 0}}, "greater than or equal to 1"),
    ],
)
def test_a_search_that_cannot_be_is_told(tmp_path: Path, parts: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as error:
        sweeping.Sweep.load(write(tmp_path, **parts))
    assert words in str(error.value)


def test_a_grid_has_every_combination_once_and_conditions_hold(tmp_path: Path) -> None:
    space = {
        "optimizer.name": ["muon", "adamw"],
        "model.d_model": [16, 32],
        "optimizer.momentum": {"choices": [0.9, 0.95], "when": {"optimizer.name": "muon"}},
    }
    search = load_search(write(tmp_path, space=space, study={"name": "s", "sampler": "grid"}))
    settings = search.grid()
    assert len(settings) == 6
    assert {"optimizer.name": "adamw", "model.d_model": 32} in settings
    assert all(("optimizer.momentum" in setting) == (setting["optimizer.name"] == "muon") for setting in settings)


def test_values_are_drawn_from_their_ranges(tmp_path: Path) -> None:
    space = {
        "optimizer.learning_rate": {"low": 0.001, "high": 0.1, "log": True},
        "model.d_model": {"low": 16, "high": 64, "step": 16},
        "model.dropout": {"low": 0.0, "high": 0.5},
        "optimizer.momentum": {"low": 0.5, "high": 0.9, "when": {"model.d_model": 32}},
    }
    sweep = sweeping.Sweep.load(write(tmp_path, space=space))
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = [sweep.search.suggest(study.ask()) for _ in range(200)]
    rates = [float(setting["optimizer.learning_rate"] or 0) for setting in drawn]
    assert min(rates) >= 0.001
    assert max(rates) <= 0.1
    assert 60 < sum(rate < 0.01 for rate in rates) < 140  # by factors
    assert {setting["model.d_model"] for setting in drawn} == {16, 32, 48, 64}
    assert {type(setting["model.dropout"]) for setting in drawn} == {float}
    assert all(("optimizer.momentum" in setting) == (setting["model.d_model"] == 32) for setting in drawn)
    config = sweep.config(drawn[0])
    assert config.optimizer.learning_rate == drawn[0]["optimizer.learning_rate"]


def test_trials_of_an_open_recipe_have_seeds_and_sizes_of_their_own(tmp_path: Path) -> None:
    study = {"name": "s", "trials": 1, "seeds": [1, 2]}
    changes = {"training.batch_size": "auto", "training.max_minutes": 1}
    path = write(tmp_path, study=study, changes=changes)
    done = minigpt("sweep", path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (trial,) = trials(tmp_path)
    configs = [load_recipe(tmp_path / run / "config.yaml") for run in trial.user_attrs["runs"].values()]
    assert [(config.run.seed, config.auto) for config in configs] == [(1, ()), (2, ())]
    best = load_recipe(tmp_path / "runs" / "s" / "best.yaml")
    assert (best.auto, best.run.name) == (("training.batch_size",), "s-best")


def test_a_sweep_trains_runs_and_gives_the_best_recipe_and_goes_on_when_repeated(tmp_path: Path) -> None:
    space = {"optimizer.learning_rate": [0.01, 0.02], "model.d_model": [16, 15]}
    path = write(tmp_path, space=space, study={"name": "s", "sampler": "grid", "seeds": [1, 2]})
    done = minigpt("sweep", path, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    ended = trials(tmp_path)
    assert sorted(trial.state.name for trial in ended) == ["COMPLETE", "COMPLETE", "FAIL", "FAIL"]
    assert all("divisible by n_heads" in t.user_attrs["error"] for t in ended if t.state.name == "FAIL")
    good = [trial for trial in ended if trial.state.name == "COMPLETE"]
    for trial in good:
        runs = [tmp_path / run for run in trial.user_attrs["runs"].values()]
        configs = [load_recipe(run / "config.yaml") for run in runs]
        assert [config.run.seed for config in configs] == [1, 2]
        assert {config.optimizer.learning_rate for config in configs} == {trial.params["optimizer.learning_rate"]}
        losses = [
            yaml.safe_load((run / "metrics.jsonl").read_text().splitlines()[-1])["validation_loss"] for run in runs
        ]
        assert trial.value == pytest.approx(sum(losses) / 2)
    best = load_recipe(tmp_path / "runs" / "s" / "best.yaml")
    winner = min(good, key=lambda trial: trial.value or 0)
    assert best.optimizer.learning_rate == winner.params["optimizer.learning_rate"]
    again = minigpt("sweep", path, cwd=tmp_path)
    assert again.returncode == 0
    assert len(trials(tmp_path)) == 4
    for other_space, seeds in (({"model.d_model": [16, 32]}, [1, 2]), (space, [1])):
        changed = write(tmp_path, space=other_space, study={"name": "s", "sampler": "grid", "seeds": seeds})
        done = minigpt("sweep", changed, cwd=tmp_path)
        assert (done.returncode, "choose another name" in done.stderr) == (2, True)
    write(tmp_path, space=space, study={"name": "s", "sampler": "grid", "seeds": [1, 2]})
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({**RECIPE, "schedule": {"warmup_steps": 1}}))
    done = minigpt("sweep", path, cwd=tmp_path)
    assert (done.returncode, "choose another name" in done.stderr) == (2, True)


@pytest.mark.parametrize(("evaluate_every", "state"), [(3, "PRUNED"), (12, "COMPLETE")])
def test_hopeless_trials_are_stopped_before_their_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, evaluate_every: int, state: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sweeping, "ENOUGH", 1)
    changes = {"training.max_steps": 12, "training.evaluate_every": evaluate_every}
    path = write(
        tmp_path,
        space={"optimizer.learning_rate": [0.05, 1e-6]},
        changes=changes,
        study={"name": "s", "sampler": "grid"},
    )
    sweep = sweeping.Sweep.load(path)
    study = sweep.open()
    study.enqueue_trial({"optimizer.learning_rate": 0.05})  # the good one first
    sweep.prepare(study)
    sweep.work(study, lambda *_: None)
    first, second = sweeping.counted(study)
    assert (first.state.name, second.state.name) == ("COMPLETE", state)
    assert second.last_step == (5 if state == "PRUNED" else None)  # tenths of the budget; two are let pass


@pytest.mark.parametrize("moment", ["in training", "as it begins"])
def test_a_worker_that_is_killed_loses_nothing(tmp_path: Path, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, study={"name": "s", "trials": 3, "prune": False})
    place, name = {"in training": (starting, "start"), "as it begins": (HeartbeatThread, "start")}[moment]

    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    done = forked("sweep", path, "--worker", cwd=tmp_path, before=lambda: setattr(place, name, die))
    assert done.status == -signal.SIGKILL
    assert [trial.state.name for trial in trials(tmp_path)] == ["RUNNING"]
    monkeypatch.setattr(sweeping, "HEARTBEAT", 1)
    monkeypatch.setattr(sweeping, "SILENCE", 2)
    assert minigpt("sweep", path, "--worker", cwd=tmp_path).returncode == 0
    ended = trials(tmp_path)
    assert [trial.state.name for trial in ended] == ["COMPLETE"] * 3
    folders = [run for trial in ended for run in trial.user_attrs["runs"].values()]
    assert len(set(folders)) == 3


def test_processes_never_take_the_same_trial(tmp_path: Path) -> None:
    url, waiting, taken = f"sqlite:///{tmp_path}/s.db", range(40), []
    study = optuna.create_study(study_name="s", storage=Storage(url))
    for number in waiting:
        study.enqueue_trial({"x": number})

    def take() -> None:
        mine = optuna.load_study(study_name="s", storage=Storage(url))
        for _ in range(15):
            trial = mine.ask()
            taken.append(trial.number)
            mine.tell(trial, trial.suggest_int("x", 0, 100))

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == list(range(60))


@pytest.mark.usefixtures("no_pauses")
def test_a_database_that_another_process_is_making_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make, calls = optuna.create_study, []

    def create_study(**options: Any) -> optuna.Study:
        calls.append(options)
        if len(calls) < 3:
            raise RuntimeError("UNIQUE constraint failed")
        return make(**options)

    monkeypatch.setattr(optuna, "create_study", create_study)
    assert sweeping.Sweep.load(write(tmp_path)).open().trials == []


def test_a_study_without_trials_takes_a_corrected_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = sweeping.Sweep.load(write(tmp_path))
    first.prepare(first.open())
    second = sweeping.Sweep.load(write(tmp_path, space={"model.d_model": {"low": 16, "high": 32, "step": 2}}))
    second.prepare(second.open())
    assert "model.d_model" in second.open().user_attrs["search"]["space"]


def test_trials_that_a_lost_database_knew_are_not_replaced(tmp_path: Path) -> None:
    mine = tmp_path / "runs/s/trial-0000-seed-1/mine"
    mine.mkdir(parents=True)
    done = minigpt("sweep", write(tmp_path), cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "holds trials that its database does not know of" in done.stderr
    assert mine.is_dir()


@pytest.mark.filterwarnings("ignore::optuna.exceptions.ExperimentalWarning")
def test_a_trial_killed_twice_counts_once() -> None:
    study = optuna.create_study()
    for _ in range(2):
        trial = study.ask()
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        optuna.storages.RetryHeartbeatStaleTrialCallback()(study, study.trials[-1])
    assert [trial.number for trial in sweeping.counted(study)] == [2]


def test_a_grid_queued_by_two_machines_at_once_is_searched_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, space={"model.d_model": [16, 32]}, study={"name": "s", "sampler": "grid"})
    sweep = sweeping.Sweep.load(path)
    study = sweep.open()
    for setting in [{"model.d_model": 16}, {"model.d_model": 16}, {"model.d_model": 32}, {"model.d_model": 32}]:
        study.enqueue_trial(setting)
    sweep.work(study, lambda *_: None)
    assert [trial.params["model.d_model"] for trial in sweeping.counted(study)] == [16, 32]
    assert {trial.state.name for trial in sweeping.counted(study)} == {"COMPLETE"}


def test_workers_share_the_threads_that_this_process_may_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started_with = []

    def start(_command: list[str], env: dict[str, str], **_options: object) -> Any:
        started_with.append(env["OMP_NUM_THREADS"])
        return SimpleNamespace(poll=lambda: 0, wait=lambda: 0, terminate=lambda: None, returncode=0)

    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    plan: Any = SimpleNamespace(folder=tmp_path)
    study: Any = None
    command._work_together(plan, study, tmp_path / "search.yaml", 3)
    assert started_with == ["2"] * 3


def test_workers_share_a_study_and_end_with_the_command(tmp_path: Path) -> None:
    """Of six trials, the last two would take for ever."""
    space = {"training.max_steps": [4, 5, 6, 7, 100_000, 100_001]}
    path = write(tmp_path, space=space, study={"name": "s", "sampler": "grid", "prune": False})
    command = started("sweep", path, "--workers", "2", cwd=tmp_path)
    while not all((tmp_path / f"runs/s/trial-000{number}/metrics.jsonl").exists() for number in (4, 5)):
        assert command.runs(), command.end()
        time.sleep(0.02)
    os.kill(command.pid, signal.SIGTERM)
    done = command.end()
    assert done.status == 130, done.errors
    assert "warning" not in done.errors
    assert "the same command goes on with the search" in done.errors
    page = (tmp_path / "runs" / "s" / "sweep.html").read_text()
    assert "Stopped before its end: the same command goes on with the search" in page
    assert page.count("<td>complete</td>") == 4
    found = trials(tmp_path)
    assert [trial.state.name for trial in found] == ["COMPLETE"] * 4 + ["WAITING"] * 2
    assert len({run for trial in found[:4] for run in trial.user_attrs["runs"].values()}) == 4
    logs = [log.read_text() for log in (tmp_path / "runs" / "s").glob("worker-*.log")]
    assert len(logs) == 2
    assert all("interrupted: the same command goes on with the search" in log for log in logs)


@pytest.mark.parametrize("end", [KeyboardInterrupt, Interrupted])
def test_a_trial_that_is_tried_again_keeps_the_seeds_that_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: type[BaseException]
) -> None:
    monkeypatch.chdir(tmp_path)
    study = {"name": "s", "trials": 1, "seeds": [1, 2]}
    sweep = sweeping.Sweep.load(write(tmp_path, study=study))
    begin, seeds = starting.start, []

    def start(config: Config, **options: Any) -> Any:
        seeds.append(config.run.seed)
        if seeds == [1, 2]:
            raise end
        return begin(config, **options)

    monkeypatch.setattr(starting, "start", start)
    with pytest.raises(Interrupted):
        sweep.work(sweep.open(), lambda *_: None)
    opened = sweep.open()
    sweep.work(opened, lambda *_: None)
    assert seeds == [1, 2, 2]
    (trial,) = sweeping.counted(opened)
    losses = trial.user_attrs["losses"]
    assert trial.value == pytest.approx((losses["1"] + losses["2"]) / 2)
    assert list(trial.user_attrs["runs"]) == ["1", "2"]


def test_a_grid_is_searched_as_far_as_trials_say_and_further_when_they_say_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for n_trials, n_done in ((1, 1), (50, 3)):
        study = {"name": "s", "sampler": "grid", "trials": n_trials}
        sweep = sweeping.Sweep.load(write(tmp_path, space={"model.d_model": [16, 32, 64]}, study=study))
        opened = sweep.open()
        sweep.prepare(opened)
        sweep.work(opened, lambda *_: None)
        done = [trial for trial in sweeping.counted(opened) if trial.state.name == "COMPLETE"]
        assert [trial.params["model.d_model"] for trial in done] == [16, 32, 64][:n_done]


def test_a_process_that_slept_while_another_took_its_trial_over_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    sweep = sweeping.Sweep.load(write(tmp_path, study={"name": "s", "trials": 2}))
    study, begin, started = sweep.open(), starting.start, []

    def start(config: Config, **options: Any) -> Any:
        started.append(config.run.name)
        if len(started) == 1:
            trial = study.trials[0]
            study._storage.set_trial_state_values(trial._trial_id, optuna.trial.TrialState.FAIL)
            optuna.storages.RetryHeartbeatStaleTrialCallback()(study, study.trials[0])
        return begin(config, **options)

    monkeypatch.setattr(starting, "start", start)
    sweep.work(study, lambda *_: None)
    assert [trial.state.name for trial in sweeping.counted(study)] == ["COMPLETE", "COMPLETE"]


def test_a_search_in_which_nothing_ends_well_is_an_error_with_the_reason(tmp_path: Path) -> None:
    done = minigpt("sweep", write(tmp_path, changes={"data.source": "nowhere.txt"}), cwd=tmp_path)
    assert (done.returncode, "error: " in done.stderr) == (2, True)
    assert "no trial ended well" in done.stderr
    assert "trials failed, for reasons such as: data.source = nowhere.txt" in done.stdout


@pytest.mark.usefixtures("no_pauses")
def test_a_database_that_cannot_be_reached_is_told_without_its_password(tmp_path: Path) -> None:
    study = {"name": "s", "trials": 1, "storage": "nosuch://me:secret@host/base"}
    done = minigpt("sweep", write(tmp_path, study=study), cwd=tmp_path)
    assert done.returncode == 2
    assert "search.yaml: study.storage = nosuch://me:***@host/base: " in done.stderr
    assert "secret" not in done.stderr


def test_the_best_recipe_needs_no_run_of_another_machine(tmp_path: Path) -> None:
    path = write(tmp_path)
    assert minigpt("sweep", path, cwd=tmp_path).returncode == 0
    for run in (tmp_path / "runs" / "s").glob("trial-*"):
        shutil.rmtree(run)
    (tmp_path / "runs" / "s" / "best.yaml").unlink()
    assert minigpt("sweep", path, cwd=tmp_path).returncode == 0
    best = load_recipe(tmp_path / "runs" / "s" / "best.yaml")
    winner = min(trials(tmp_path), key=lambda trial: trial.value or 0)
    assert best.optimizer.learning_rate == winner.params["optimizer.learning_rate"]


def test_without_optuna_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    done = minigpt("sweep", write(tmp_path), cwd=tmp_path)
    assert (done.returncode, "pip install 'minigpt[sweep]'" in done.stderr) == (2, True)


def test_a_logarithmic_scale_has_equal_steps_for_equal_factors() -> None:
    assert sweep_page._scale([1, 10, 100], True) == pytest.approx({"1": 0, "10": 0.5, "100": 1})


@needs_chromium
def test_the_page_shows_history_importance_and_curves(tmp_path: Path) -> None:
    space = {"optimizer.learning_rate": SPACE["optimizer.learning_rate"], "model.d_model": [16, 32]}
    done = minigpt("sweep", write(tmp_path, space=space), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "4 trials: 4 complete" in done.stdout
    with chromium(viewport={"width": 400, "height": 800}) as page:
        page.goto(f"file://{tmp_path}/runs/s/sweep.html")
        page.wait_for_selector(
            ".js-plotly-plot .scatterlayer path.js-line", state="attached"
        )  # a level line has no height
        losses = [trial.value for trial in trials(tmp_path) if trial.value is not None]
        best = page.evaluate("document.querySelector('.chart').data.at(-1)")
        assert (best["name"], best["y"]) == ("best so far", list(accumulate(losses, min)))
        lines = page.evaluate("Array.from(document.querySelectorAll('.chart')[2].data, line => line.text)")
        shown = {text for line in lines for text in line}
        for trial in trials(tmp_path):
            assert {f"loss = {trial.value:.4g}", f"model.d_model = {trial.params['model.d_model']}"} <= shown
        titles = page.eval_on_selector_all("h3", "all => all.map(title => title.textContent)")
        assert titles == [
            "validation loss of each trial",
            "importance for being among the best",
            "settings and losses (dotted: stopped early)",
            "validation loss over time",
        ]
        assert page.locator("tbody tr").count() == 4
        assert page.evaluate("document.documentElement.scrollWidth") <= 400
