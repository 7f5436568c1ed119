"""What a recipe leaves open."""

from pathlib import Path

import pytest
from conftest import RECIPE
from pydantic import ValidationError

from minigpt.config.hyperparameters import Config
from minigpt.config.recipe import load_recipe, save_recipe
from minigpt.errors import UserError

AUTO = RECIPE.with_name("auto.yaml")
TREE = {
    "training": {"max_minutes": 1, "batch_size": "auto"},
    "model": {"d_model": "auto", "n_heads": None, "d_head": 32},
}


def test_what_is_chosen_takes_its_place_and_other_widths_follow() -> None:
    config = Config.model_validate(TREE)
    assert config.auto == ("model.d_model", "training.batch_size")
    chosen = config.chosen({"model.d_model": 128, "training.batch_size": 4})
    assert (chosen.auto, chosen.model.d_model, chosen.training.batch_size) == ((), 128, 4)
    assert (chosen.model.n_heads, chosen.model.d_ff) == (4, 352)


def test_a_choice_is_held_to_the_same_ranges() -> None:
    with pytest.raises(ValidationError, match="batch_size"):
        Config.model_validate(TREE).chosen({"model.d_model": 128, "training.batch_size": 0})


def test_only_sizes_are_left_open() -> None:
    with pytest.raises(ValidationError, match="warmup_steps"):
        Config.model_validate({**TREE, "schedule": {"warmup_steps": "auto"}})


@pytest.mark.parametrize("heads", [{"n_heads": None, "d_head": 48}, {"n_heads": 5}, {"n_heads": 3, "d_head": 20}])
def test_an_open_width_stands_in_no_heads_way(heads: dict[str, int | None]) -> None:
    tree = {**TREE, "model": {"d_model": "auto", **heads}}
    assert Config.model_validate(tree).auto == ("model.d_model", "training.batch_size")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("model.n_layers=Auto", "write 'auto'"),
        ("model.dropout=' AUTO'", "write 'auto'"),
        ("model.d_ff=auto", "may not be auto; these may: tokenizer.kind, tokenizer.vocab_size, model.context_length"),
        ("model.d_head=auto", 'model.d_head = "auto": may not be auto'),
        ("model.n_heads=null", "n_heads and d_head are both null; give one of them"),
    ],
)
def test_what_cannot_be_open_is_told(change: str, words: str) -> None:
    with pytest.raises(UserError) as told:
        load_recipe(AUTO, [change])
    assert words in str(told.value)


@pytest.mark.parametrize("d_head", [2048, 48.0, "64"])
def test_a_head_may_be_wide_and_be_written_in_any_way(d_head: float | str) -> None:
    width = load_recipe(AUTO, ["model.n_heads=null", f"model.d_head={d_head!r}"]).model.d_model
    assert width % int(d_head) == 0


def test_an_open_recipe_is_saved_as_it_is_open(tmp_path: Path) -> None:
    recipe = load_recipe(AUTO, ["model.reference_width=null"])
    save_recipe(recipe, tmp_path / "best.yaml")
    again = load_recipe(tmp_path / "best.yaml")
    assert again.auto == recipe.auto
    sizes = {"model.n_layers": 2, "model.d_model": 96, "model.context_length": 64, "model.dropout": 0.0}
    others = {"tokenizer.kind": "byte", "tokenizer.vocab_size": 257, "training.batch_size": 8}
    values = {**sizes, **others, "optimizer.residual_fraction": 1.0, "training.max_steps": None}
    assert again.chosen(values).model == recipe.chosen(values).model
    assert again.chosen(values).model.d_head == 24


def test_what_was_chosen_is_saved_as_numbers(tmp_path: Path) -> None:
    chosen = Config.model_validate(TREE).chosen({"model.d_model": 96, "training.batch_size": 4})
    save_recipe(chosen, tmp_path / "config.yaml")
    assert "d_model: 96" in (tmp_path / "config.yaml").read_text()
    loaded = load_recipe(tmp_path / "config.yaml")
    assert (loaded.auto, loaded.model, loaded.training) == ((), chosen.model, chosen.training)
