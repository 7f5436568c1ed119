"""A recipe is checked: what is wrong in it is named, with what would be right."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from conftest import RECIPE
from hypothesis import given
from hypothesis import strategies as st

from minigpt.config.recipe import is_as_written, json_schema, load_recipe, save_recipe
from minigpt.errors import UserError
from minigpt.experiments.search import load_search

CHANGES = {
    "model.n_layer=3": ["model.n_layer = ", "did you mean 'model.n_layers'"],
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
    "optimizer.beta1=1": ["optimizer.beta1 = 1", "less than 1"],
    "training.batch_size=0": ["training.batch_size = 0"],
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
    "training.max_steps=2024-13-45": ["training.max_steps", "2024-13-45", "integer"],
    "training.max_steps=!!int x": ["training.max_steps", "!!int x", "integer"],
    "training.max_steps=[[" + "[" * 3000: ["training.max_steps", "[[[", "integer"],
    "training.max_minutes=1e308": ["training.max_minutes", "1e+308", "less than or equal to"],
    "run.device=cuda:١": ["run.device", "cuda:١"],
    "run.directory=a\0b": ["run.directory"],
    "data.source=": ['data.source = ""', "at least 1 character"],
    "training.max_minutes=1:30": ['training.max_minutes = "1:30"', "number"],
    "run.seed=0b11": ['run.seed = "0b11"', "integer"],
    "run.compile=yes": ['run.compile = "yes"', "True or False"],
    "max_steps=5": ["'max_steps=5'", "such as training.max_steps=5"],
    "trainin.max_step=5": ["no section 'trainin'", "did you mean 'training.max_steps'"],
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


def test_a_run_must_have_an_end() -> None:
    with pytest.raises(UserError, match=r"set training\.max_steps or training\.max_minutes"):
        load_recipe(RECIPE, ["training.max_minutes=null", "training.max_steps=null"])


FILES = {
    "model: [1, 2": ["line", "not valid YAML"],
    "model: {n_layers: 2}\nmodel: {n_layers: 3}": ["line 2", "'model' is given twice"],
    "- a\n- b": ["list", "sections"],
    "model: 3": ["model", "section"],
    "model: {n_layers: 2, n_layers: 3}": ["'n_layers' is given twice"],
    "\tmodel: x": ["not valid YAML"],
    "a: &a [*a]": ["line 1", "*a", "stands for another value"],
    "#" * 2**20 + "\n": ["1,048,576 bytes"],
    "a: " + "[" * 3000: ["not valid YAML"],
    "run: {seed: 2024-13-45}": ['run.seed = "2024-13-45"', "integer"],
    "run: {name: true}": ["run.name = true", "in quotes"],
}


@pytest.mark.parametrize(("content", "expected"), FILES.items())
def test_a_damaged_recipe_is_named_with_its_place(content: str, expected: list[str], tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(content)
    with pytest.raises(UserError) as caught:
        load_recipe(path)
    for part in [str(path), *expected]:
        assert part in str(caught.value)


NUMBERS = {"optimizer.learning_rate=1e-3": 0.001, "training.max_steps=0100": 100, "training.max_steps=1e3": 1000}


@pytest.mark.parametrize(("change", "value"), NUMBERS.items())
def test_numbers_are_read_as_people_write_them(change: str, value: float) -> None:
    assert load_recipe(RECIPE, [change]).value(change.partition("=")[0]) == value


TEXTS = [
    "runs/exp #2",
    "12:30",
    "def ",
    " x",
    "a\nb\r\n",
    '"Hi"',
    "010",
    "1.10",
    "1_000",
    "2024-11-05",
    "1e3",
    "yes",
    "[",
    "*a",
]


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_the_text_as_it_stands(text: str, tmp_path: Path) -> None:
    changed = load_recipe(RECIPE, [f"sampling.prompt={text}", f"run.directory={text}"])
    save_recipe(changed, tmp_path / "config.yaml")
    for config in (changed, load_recipe(tmp_path / "config.yaml")):
        assert (config.sampling.prompt, config.run.directory) == (text, text)


@given(st.text())
def test_every_text_comes_back_from_a_saved_recipe(text: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, "config.yaml")
        save_recipe(load_recipe(RECIPE, [f"sampling.prompt={text}"]), path)
        assert load_recipe(path).sampling.prompt == text


def test_a_recipe_is_as_written_until_a_byte_of_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    save_recipe(load_recipe(RECIPE), path)
    assert is_as_written(path)
    path.write_bytes(b"#" + path.read_bytes()[1:])
    assert not is_as_written(path)


def test_a_text_in_a_recipe_needs_no_quotes(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("run: {name: 010, directory: 1.10}\ndata: {source: 2024-11-05}\ntraining: {max_steps: 010}")
    config = load_recipe(path)
    assert (config.run.name, config.run.directory, config.data.source) == ("010", "1.10", "2024-11-05")
    assert config.training.max_steps == 10


def test_null_is_a_text_only_where_there_must_be_one() -> None:
    config = load_recipe(RECIPE, ["run.directory=null", "sampling.prompt=null"])
    assert (config.run.directory, config.sampling.prompt) == (None, "null")


def test_the_schema_for_editors_is_up_to_date() -> None:
    assert (RECIPE.parent / "schema.json").read_text() == json_schema()
    assert json.loads(json_schema())["$defs"]["ModelConfig"]["properties"]["n_layers"]["minimum"] == 1


@pytest.mark.parametrize("path", sorted(RECIPE.parent.rglob("*.yaml")), ids=lambda path: path.name)
def test_every_recipe_that_comes_with_minigpt_is_valid(path: Path) -> None:
    if path.parent.name == "sweeps":
        assert load_search(path).space
    else:
        assert load_recipe(path).model.d_model > 0
