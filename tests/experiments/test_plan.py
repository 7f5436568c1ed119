"""What a run will cost, known before."""

import json
from pathlib import Path

import pytest
import torch
from conftest import RECIPE, TINY, minigpt

from minigpt.config.hyperparameters import Config, ModelConfig
from minigpt.config.recipe import load_recipe
from minigpt.experiments import throughput
from minigpt.experiments.throughput import Steps
from minigpt.hardware.device import Engine, Precision
from minigpt.hardware.memory import memory_by_use
from minigpt.model.gpt import GPT


def test_the_plan_counts_what_the_model_has(run: Path) -> None:
    plan = json.loads(minigpt("config", RECIPE, *TINY, "--json", cwd=run.parents[1]).stdout)["plan"]
    d, v, f, layers = 32, 1024, 96, 2
    assert sum(plan["parameters"].values()) == v * d + layers * (4 * d * d + 3 * d * f + 2 * d + 2 * 16) + d
    assert plan["steps"] == 12
    assert plan["flops_per_token"] == 6 * (v * d + layers * (4 * d * d + 3 * d * f)) + 12 * layers * d * 32
    assert plan["seconds"] == pytest.approx(12 * plan["seconds_per_step"])


def test_a_recipe_without_end_has_no_plan(run: Path) -> None:
    done = minigpt("config", RECIPE, *TINY, "data.source=null", "training.max_steps=null", cwd=run.parents[1])
    assert (done.returncode, "set it or training.max_minutes" in done.stderr) == (2, True)


def test_the_plan_counts_what_a_forward_pass_keeps() -> None:
    recipe = load_recipe(RECIPE, [*TINY, "model.norm=layernorm", "model.feed_forward=gelu", "model.qk_norm=false"])
    engine = Engine(torch.device("cpu"), "float32")

    def kept(changes: dict[str, int], **training: int) -> int:
        shape = recipe.model.model_copy(update={"vocab_size": 100, **changes})
        config = recipe.model_copy(update={"model": shape, "training": recipe.training.model_copy(update=training)})
        return Steps(config, GPT(shape).train(), engine, 0.1).activation_bytes()

    four, eight = kept({}, batch_size=4), kept({}, batch_size=8)
    assert eight == pytest.approx(2 * four, rel=0.1)
    layer = kept({"n_layers": 3}) - kept({"n_layers": 2})
    # LayerNorm's input and output twice; q, k, v, what is attended to; its weights' sums; gelu's input and output
    d, f, heads = 32, 96, 2
    assert layer == pytest.approx(4 * 4 * 32 * (4 * d + 4 * d + 2 * f + heads), rel=0.25)


def test_a_few_rows_tell_what_all_take(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load_recipe(RECIPE, [*TINY, "training.batch_size=16", "training.gradient_accumulation_steps=3"])
    model = GPT(recipe.model.model_copy(update={"vocab_size": 100}))
    monkeypatch.setattr(throughput, "LEAST_RATE", 1)
    monkeypatch.setattr(Steps, "step", lambda self: (0.010 + 0.020 * self.n_rows, 0.003))
    for at_most, n_rows in ((0.001, 2), (0.1, 3), (1.0, 16)):
        steps = Steps(recipe, model, Engine(torch.device("cpu"), "float32"), at_most)
        assert steps.n_rows == n_rows
        assert steps.time(0) == pytest.approx((3 * (0.010 + 0.020 * 16), 0.003))


@pytest.mark.parametrize(("together", "n_threads"), [(5.0, 1), (0.5, 2)])
def test_where_threads_wait_for_each_other_one_goes_on_alone(
    together: float, n_threads: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def step(self: Steps) -> tuple[float, float]:
        return self.n_rows * (together if torch.get_num_threads() > 1 else 0.5), 0.0

    monkeypatch.setattr(Steps, "step", step)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        recipe, shape = Config(training={"max_steps": 1}), ModelConfig(vocab_size=9, n_layers=1, d_model=8, n_heads=2)
        Steps(recipe, GPT(shape), Engine(torch.device("cpu"), "float32"), 0.01)
        assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)
    assert ("one thread alone is 10 times as fast as 2" in capsys.readouterr().err) == (n_threads == 1)


@pytest.mark.parametrize(
    "changes", [[], ["model.n_kv_heads=1"], ["model.norm=layernorm", "model.feed_forward=gelu", "model.qk_norm=false"]]
)
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_memory_is_told_before_there_is_any(precision: Precision, changes: list[str]) -> None:
    sizes = ["model.d_model=128", "model.d_ff=null", "model.context_length=128", f"run.precision={precision}"]
    config = load_recipe(RECIPE, [*TINY, *sizes, "run.compile=false", "training.batch_size=4", *changes])
    shape = config.model.model_copy(update={"vocab_size": 100})
    model, engine = GPT(shape), Engine(torch.device("cpu"), precision)
    told = memory_by_use(config, shape, model.n_parameters(), 4, engine.device)["activations"]
    assert told == pytest.approx(Steps(config, model.train(), engine, 1).activation_bytes(), rel=0.25)
