"""The Python interface does what the commands do."""

import contextlib
import dataclasses
import html
import json
import re
import shutil
import signal
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from browser import chromium, needs_chromium
from conftest import RECIPE, TINY
from conftest import minigpt as command

import minigpt
from minigpt.cli.compare import expand
from minigpt.config.hyperparameters import Config
from minigpt.config.recipe import read_change
from minigpt.errors import told_as_arguments, typed
from minigpt.storage.version import installed_version

CHANGES = dict(map(read_change, TINY))
WEIGHTS = Path("checkpoints/step-00000012/model.safetensors")


@pytest.fixture(scope="module")
def tiny(run: Path) -> minigpt.Run:
    return minigpt.load(run, device="cpu")


def test_training_in_any_thread_gives_the_weights_that_the_command_gives(run: Path) -> None:
    sections: dict[str, dict[str, Any]] = {}
    for key, value in CHANGES.items():
        section, _, name = key.partition(".")
        sections.setdefault(section, {})[name] = value
    data = sections.pop("data")
    dotted = {f"data.{name}": value for name, value in data.items()}
    changes = sections | {"run": sections["run"] | {"name": "python"}}
    with contextlib.chdir(run.parents[1]), ThreadPoolExecutor(1) as thread:
        trained = thread.submit(minigpt.train, RECIPE, **changes, **dotted).result()
    assert (run.parents[1] / trained.path / WEIGHTS).read_bytes() == (run / WEIGHTS).read_bytes()
    assert (run.parents[1] / trained.path / "report.html").exists()
    assert trained.config.model.n_layers == 2
    assert re.match(r"<Run runs/python, step 12: [0-9,]+ parameters \(2 layers, 2 heads, width 32", repr(trained))


def test_an_interrupt_saves_and_the_run_goes_on_as_if_there_had_been_none(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = {"data": {"directory": run.parents[1] / "data"}, "run": {"directory": tmp_path / "run", "name": "tiny"}}

    def interrupt(folder: object, goes_on: bool = False, stopped: str = "") -> None:
        if goes_on:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr("minigpt.experiments.report.write_report", interrupt)
        with pytest.raises(KeyboardInterrupt, match=r"saved at step 7; go on with minigpt\.resume"):
            minigpt.train(RECIPE, **recipe, **CHANGES)
    resumed = minigpt.resume(tmp_path / "run")
    assert (resumed.path / WEIGHTS).read_bytes() == (run / WEIGHTS).read_bytes()


MISTAKES: dict[str, tuple[Callable[[minigpt.Run], object], str]] = {
    "value": (lambda run: minigpt.train({"model": {"n_layers": 0}}), "train(): model.n_layers = 0: must be greater"),
    "key": (lambda run: minigpt.train({}, model={"layers": 2}), "train(): model.layers = 2: unknown key"),
    "dotted key": (
        lambda run: minigpt.train(RECIPE, **{"model.n_layer": 2}),
        "train(): model.n_layer = 2: unknown key; did you mean 'model.n_layers'?",
    ),
    "section": (
        lambda run: minigpt.train({"modle": {"n_layers": 2}}),
        "train(): modle = {\"n_layers\": 2}: there is no section 'modle'; did you mean 'model'?",
    ),
    "no section": (
        lambda run: minigpt.train(RECIPE, max_steps=100),
        "train(): max_steps = 100: there is no section 'max_steps'; did you mean 'training.max_steps'?",
    ),
    "section that is a value": (lambda run: minigpt.train({}, data="stories"), 'data = "stories": must be a dict'),
    "auto without minutes": (
        lambda run: minigpt.train({"training": {"max_steps": 9}}, model={"n_layers": "auto"}, run={"name": "open"}),
        "model.n_layers = auto: is chosen for some minutes",
    ),
    "run that exists": (lambda run: minigpt.train(RECIPE, **{"run.directory": run.path}), "exists already"),
    "no recipe": (lambda run: minigpt.train("none.yaml"), "none.yaml: no such recipe"),
    "no run": (lambda run: minigpt.load(run.path / "nothing"), "not a run folder"),
    "no device": (lambda run: minigpt.load(run.path, device="tpu"), "device = tpu: must be auto, cpu"),
    "no checkpoint": (lambda run: minigpt.load(run.path, 7), "7: must be best, last or a step that was kept"),
    "sampling value": (lambda run: run.generate(temperature=-1), "temperature = -1: must be greater than or equal"),
    "sampling key": (lambda run: run.generate(temprature=1), "temprature = 1: unknown key; did you mean 'temperature'"),
    "empty stop": (lambda run: run.generate(stop=[".", ""]), "stop = '': must not be empty"),
    "seed": (lambda run: run.stream(seed=-1), "seed = -1: must be a whole number from 0"),
    "long text": (lambda run: run.logits("word " * 99), "tokens, and the model sees 32 at once; shorten it"),
    "evaluation text": (lambda run: run.evaluate("none.txt"), "text = none.txt: there is no such file"),
    "empty evaluation text": (lambda run: run.evaluate(""), "text: must not be empty"),
    "long prompt": (lambda run: run.explain("word " * 99), "prompt: has 495 tokens"),
    "format": (lambda run: run.export("x", format="gpt"), "format = gpt: must be huggingface or gguf"),
    "dtype": (lambda run: run.export("x", "gguf", "f23"), "dtype = f23: gguf takes f32, f16, q8_0; did you mean"),
    "place": (lambda run: minigpt.Page("").save(run.path / "no" / "page.html"), "page.html: cannot be written"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_told_in_one_line(name: str, tiny: minigpt.Run) -> None:
    call, expected = MISTAKES[name]
    with pytest.raises(minigpt.UserError) as error:
        call(tiny)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value._render_traceback_() == [f"error: {error.value}"]


def test_a_text_is_the_same_in_one_or_in_pieces_and_from_the_command(tiny: minigpt.Run) -> None:
    text = tiny.generate("Alice gave", seed=3, temperature=0.5)
    pieces = list(tiny.stream("Alice gave", seed=3, temperature=0.5))
    assert "".join(pieces) == text
    assert len(pieces) > 1
    options = ["--prompt", "Alice gave", "--seed", 3, "--temperature", 0.5, "--device", "cpu"]
    done = command("sample", tiny.path, *options, "--json", cwd=tiny.path)
    assert json.loads(done.stdout)["samples"] == [text]
    assert text.startswith(tiny.generate("Alice gave", seed=3, temperature=0.5, stop=text[4:6]))
    assert text[4:6] not in tiny.generate("Alice gave", seed=3, temperature=0.5, stop=text[4:6])
    assert tiny.generate("Alice gave", seed=0) != tiny.generate("Alice gave") == tiny.generate("Alice gave", seed=1337)


@pytest.mark.parametrize("begins", [False, True])
def test_tokens_logits_and_trace_are_of_the_same_text(begins: bool, tiny: minigpt.Run) -> None:
    sampling = tiny.config.sampling.model_copy(update={"begin_document": begins})
    config = tiny.config.model_copy(update={"sampling": sampling})
    run = minigpt.Run(dataclasses.replace(tiny.loaded, config=config))
    tokens = run.tokens("Alice sat.")
    assert (tokens[0] == (run.loaded.tokenizer.begin_of_text, "", b"")) == begins
    assert "".join(token.text for token in tokens) == "Alice sat."
    logits = run.logits("Alice sat.")
    assert (logits.dtype, logits.shape) == (np.float32, (len(tokens), run.config.model.vocab_size))
    np.testing.assert_allclose(logits, run.trace("Alice sat.").logits, atol=1e-4)
    greedy = run.generate("Alice sat.", temperature=0, max_new_tokens=1, precision="float32")
    assert greedy == run.loaded.tokenizer.decode([int(logits[-1].argmax())])


def test_evaluation_is_that_of_the_command(tiny: minigpt.Run) -> None:
    with contextlib.chdir(tiny.path.parents[1]):
        figures = tiny.evaluate()
    done = command("evaluate", tiny.path, "--device", "cpu", "--json", cwd=tiny.path.parents[1])
    assert figures == json.loads(done.stdout)


def test_metrics_are_a_table_or_without_pandas_a_list(tiny: minigpt.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tiny.metrics
    assert list(table.dropna(subset="validation_loss")["step"]) == [6, 12]
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert [line["step"] for line in tiny.metrics if "validation_loss" in line] == [6, 12]


def test_a_page_is_saved_as_it_is_shown(tiny: minigpt.Run, tmp_path: Path) -> None:
    page = tiny.explain("Alice sat.")
    (shown,) = re.findall(r'<iframe srcdoc="([^"]*)"', page._repr_html_())
    assert html.unescape(shown) == page.html
    assert page.save(tmp_path / "page.html").read_text(encoding="utf-8") == page.html
    assert re.fullmatch(r"<Page of \d+\.\d MB; .*>", repr(page))
    assert '"rule":"itself"' in page.html, "training kept what heads and neurons do"


@needs_chromium
def test_a_page_works_inside_a_notebook(tiny: minigpt.Run, tmp_path: Path) -> None:
    outer = tmp_path / "notebook.html"
    outer.write_text(f"<!doctype html><meta charset=utf-8>{tiny.explain('Alice sat.')._repr_html_()}", encoding="utf-8")
    with chromium() as shown:
        shown.goto(outer.as_uri())
        inside = shown.frame_locator("iframe")
        inside.locator("#way a[data-chapter=thinking][data-layer='1']").click()
        inside.locator("#way a[data-chapter=thinking][data-layer='1'][aria-current]").wait_for()
        assert "Alice" in inside.locator("body").inner_text()


def test_export_hands_the_run_on(tiny: minigpt.Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    handed: list[object] = []
    exporter = SimpleNamespace(export_run=lambda *arguments: handed.extend(arguments))
    monkeypatch.setitem(sys.modules, "minigpt.interop.export", exporter)
    place = tiny.export(str(tmp_path / "model.gguf"), format="gguf", dtype="f16")
    assert handed == [tiny.loaded, place, "gguf", "f16"]
    assert place == tmp_path / "model.gguf"


def test_the_version_is_the_one_that_is_installed() -> None:
    assert installed_version() == minigpt.__version__


def test_paths_are_typed_as_no_option_and_home_is_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert (typed(Path("-x")), typed(Path("a b")), typed(Path("runs/-x"))) == ("./-x", "'a b'", "runs/-x")
    monkeypatch.setenv("HOME", str(tmp_path))
    config = Config(run={"directory": "~/mine"}, data={"directory": "~"}, training={"max_steps": 1})
    assert (config.run.directory, config.data.directory) == (str(tmp_path / "mine"), str(tmp_path))


def test_an_error_names_paths_as_they_are_to_python_too() -> None:
    with pytest.raises(minigpt.UserError) as told, told_as_arguments():
        raise minigpt.UserError("runs/big--model: command line: --device x: no; name --text")
    assert str(told.value) == "runs/big--model: device = x: no; name text"


def test_a_run_may_be_called_like_a_pattern(run: Path, tmp_path: Path) -> None:
    for name in ("a [1]", "b"):
        shutil.copytree(run, tmp_path / name)
    assert expand([str(tmp_path / "a [1]"), str(tmp_path / "b")]) == [tmp_path / "a [1]", tmp_path / "b"]
