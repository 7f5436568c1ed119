import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import SHAPE, random_model
from torch import Tensor

from minigpt.config.hyperparameters import Config, ScheduleConfig
from minigpt.model.gpt import GPT
from minigpt.optimizers import learning_rate_factor, make_optimizers
from minigpt.optimizers.groups import split_parameters
from minigpt.optimizers.muon import Muon, orthogonalise


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 40, 16), (2, 16, 40)])
def test_orthogonalising_brings_singular_values_near_one_and_keeps_the_singular_vectors(shape: tuple[int, ...]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    result = orthogonalise(matrices, 5, torch.float32)
    assert torch.all((torch.linalg.svdvals(result) > 0.6) & (torch.linalg.svdvals(result) < 1.25))
    u, _, vh = torch.linalg.svd(matrices, full_matrices=False)
    in_their_basis = u.mT @ result @ vh.mT
    off_diagonal = in_their_basis - torch.diag_embed(in_their_basis.diagonal(dim1=1, dim2=2))
    assert off_diagonal.abs().max() < 1e-3


def test_muon_in_one_batch_equals_muon_matrix_by_matrix() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(8, 4, generator=generator) for _ in range(3)]
    gradients = [torch.randn(8, 4, generator=generator) for _ in range(3)]
    together = [torch.nn.Parameter(weight.clone()) for weight in weights]
    alone = [torch.nn.Parameter(weight.clone()) for weight in weights]
    optimizers = [make_muon(together), *(make_muon([parameter]) for parameter in alone)]
    for _ in range(2):
        for parameters in (together, alone):
            for parameter, gradient in zip(parameters, gradients, strict=True):
                parameter.grad = gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
    for a, b in zip(together, alone, strict=True):
        torch.testing.assert_close(a, b)


def test_muon_follows_its_formula() -> None:
    weight, gradient = torch.ones(6, 3), torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
    parameter = torch.nn.Parameter(weight.clone())
    parameter.grad = gradient.clone()
    make_muon([parameter]).step()
    look_ahead = 0.1 * gradient * 0.9 + 0.1 * gradient  # nesterov: momentum (0.1 g) mixed with g again
    update = balanced(orthogonalise(look_ahead.mT[None], 5, torch.float32)[0].mT)
    torch.testing.assert_close(parameter.detach(), weight * (1 - 0.1 * 0.01) - 0.1 * math.sqrt(2) * update)


def balanced(update: Tensor) -> Tensor:
    """The rows of a matrix that is not wide are brought to the same length, without a change of its own."""
    even = update / update.norm(dim=1, keepdim=True)
    return even * update.norm() / even.norm()


@pytest.mark.parametrize("beta2", [0.5, None])
@pytest.mark.parametrize("shape", [(3, 6), (6, 3)])
def test_the_more_rows_or_columns_of_updates_are_equally_large_over_time(
    shape: tuple[int, int], beta2: float | None
) -> None:
    parameter = torch.nn.Parameter(torch.zeros(shape))
    optimizer, generator = make_muon([parameter], beta2=beta2), torch.Generator().manual_seed(0)
    shorter_side = shape.index(3)
    loud = torch.linspace(1, 9, 6).unsqueeze(shorter_side)  # of which rows or columns the gradients tell most
    moved = torch.zeros(shape)
    for _ in range(40):
        parameter.grad = loud * torch.randn(shape, generator=generator)
        before = parameter.detach().clone()
        optimizer.step()
        moved += (parameter.detach() - before).square()
    sizes = moved.sum(shorter_side)
    assert bool(sizes.max() < 1.5 * sizes.min()) == (beta2 is not None)


def test_matrices_take_turns_and_go_as_many_times_as_far() -> None:
    weights = [torch.randn(4, 4, generator=torch.Generator().manual_seed(i)) for i in range(3)]
    gradients = [torch.randn(4, 4, generator=torch.Generator().manual_seed(i + 9)) for i in range(3)]
    parameters = [torch.nn.Parameter(weight.clone()) for weight in weights]
    optimizer, moved = make_muon(parameters, interval=2), []
    for _ in range(2):
        before = [parameter.detach().clone() for parameter in parameters]
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.clone()
        optimizer.step()
        moved.append([not torch.equal(a, b) for a, b in zip(before, parameters, strict=True)])
    assert [sum(turns) for turns in zip(*moved, strict=True)] == [1, 1, 1]
    assert {sum(step) for step in moved} == {1, 2}
    (late,) = (i for i in (0, 1) if moved[1][i])
    memory = 0.9 * 0.1 * gradients[late] + 0.1 * gradients[late]  # of both gradients
    update = orthogonalise((0.1 * gradients[late] + 0.9 * memory).mT[None], 5, torch.float32)[0].mT
    torch.testing.assert_close(parameters[late].detach(), weights[late] * (1 - 0.2 * 0.01) - 0.2 * balanced(update))


def make_muon(parameters: list[torch.nn.Parameter], interval: int = 1, beta2: float | None = 0.5) -> Muon:
    return Muon(
        [{"params": parameters, "lr": 0.1}],
        momentum=0.9,
        beta2=beta2,
        weight_decay=0.01,
        newton_schulz_steps=5,
        interval=interval,
        dtype=torch.float32,
    )


def make_recipe(model: dict[str, Any], optimizer: dict[str, Any]) -> Config:
    return Config(model={"vocab_size": 20, "d_model": 16, **model}, optimizer=optimizer, training={"max_steps": 1})


@pytest.mark.parametrize("name", ["muon", "adamw"])
@pytest.mark.parametrize("tie_embeddings", [True, False])
def test_every_parameter_is_in_exactly_one_group(name: str, tie_embeddings: bool) -> None:
    recipe = make_recipe({"bias": True, "position": "learned", "tie_embeddings": tie_embeddings}, {"name": name})
    model = GPT(recipe.model)
    optimizers = make_optimizers(model, recipe, torch.float32)
    grouped = [id(parameter) for group in optimizers.groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())


def test_only_matrices_of_blocks_are_decayed() -> None:
    recipe = make_recipe({"reference_width": 64}, {"name": "adamw", "weight_decay": 0.1, "learning_rate": 0.01})
    model = GPT(recipe.model)
    parts = split_parameters(model)
    optimizers = make_optimizers(model, recipe, torch.float32)
    decayed = {id(p) for group in optimizers.groups if group["weight_decay"] for p in group["params"]}
    assert decayed == {id(parameter) for parameter in parts["inner"] + parts["residual"]}
    assert not decayed & {id(parameter) for parameter in parts["embeddings"] + parts["vectors"]}
    assert {parameter.ndim for parameter in parts["inner"] + parts["residual"]} == {2}
    (share,) = {group["weight_decay"] * group["lr"] for group in optimizers.groups if group["weight_decay"]}
    assert share == pytest.approx(0.1 * 0.01)  # of a weight that decays in a step, at any width


def test_each_kind_of_parameter_learns_at_its_own_rate() -> None:
    rate = {"learning_rate": 0.02, "residual_fraction": 0.25, "adamw_learning_rate": 0.001}
    recipe = make_recipe({"reference_width": 64}, rate)
    model = GPT(recipe.model)
    rates = {
        id(p): group["lr"] for group in make_optimizers(model, recipe, torch.float32).groups for p in group["params"]
    }
    for block in model.blocks:
        assert rates[id(block.attention.o_proj.weight)] == rates[id(block.feed_forward.down_proj.weight)] == 0.005
        assert rates[id(block.attention.q_proj.weight)] == rates[id(block.feed_forward.up_proj.weight)] == 0.02
    assert (rates[id(model.token_embedding.weight)], rates[id(model.final_norm.weight)]) == (0.004, 0.001)


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_adamw_has_the_epsilon_and_betas_of_the_recipe(name: str) -> None:
    recipe = make_recipe({}, {"name": name, "epsilon": 1e-6, "beta1": 0.7, "beta2": 0.8})
    adamw = make_optimizers(GPT(recipe.model), recipe, torch.float32).optimizers[-1]
    assert (adamw.defaults["eps"], adamw.defaults["betas"]) == (1e-6, (0.7, 0.8))


@pytest.mark.parametrize(("name", "learning_rate"), [("muon", 0.02), ("adamw", 0.003)])
def test_the_same_learning_rate_moves_a_wide_model_as_far_as_a_narrow_one(name: str, learning_rate: float) -> None:
    """The coordinate check of Yang 2022: how far logits and hidden vectors are after five steps, at three widths."""
    tokens = torch.randint(200, (4, 33), generator=torch.Generator().manual_seed(0))
    inputs, targets = tokens[:, :-1], tokens[:, 1:].flatten()

    def moved(width: int, reference_width: int | None) -> Tensor:
        shape = {"vocab_size": 200, "context_length": 32, "n_layers": 2, "d_head": 16, "n_heads": None}
        optimizer = {"name": name, "learning_rate": learning_rate, "muon_interval": 1}
        recipe = make_recipe({**shape, "d_model": width, "reference_width": reference_width}, optimizer)
        model = GPT(recipe.model)
        model.initialise(0)
        optimizers = make_optimizers(model, recipe, torch.float32)
        before = model.hidden(inputs), model(inputs)
        for _ in range(5):
            F.cross_entropy(model(inputs).flatten(0, 1), targets).backward()
            optimizers.step(1.0)
        after = model.hidden(inputs), model(inputs)
        return torch.stack([(a - b).pow(2).mean().sqrt() for a, b in zip(after, before, strict=True)]).detach()

    narrow = moved(32, 64)
    for width in (64, 256):
        torch.testing.assert_close(moved(width, 64), narrow, rtol=0.2, atol=0)
    assert moved(256, None)[1] > 4 * moved(32, None)[1]  # what would happen to the logits otherwise


@pytest.mark.parametrize("shape", ["linear", "cosine"])
def test_the_learning_rate_goes_up_stays_and_comes_down(shape: str) -> None:
    config = ScheduleConfig(warmup_steps=9, cooldown_fraction=0.4, final_fraction=0.1, cooldown_shape=shape)
    assert learning_rate_factor(config, 0, 0.0) == pytest.approx(0.1)
    assert learning_rate_factor(config, 4, 0.02) == pytest.approx(0.5)
    assert learning_rate_factor(config, 50, 0.5) == 1
    assert learning_rate_factor(config, 80, 0.8) == pytest.approx(0.55)  # half way down, in both shapes
    assert learning_rate_factor(config, 100, 1.0) == pytest.approx(0.1)


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_a_loaded_state_keeps_the_settings_of_the_config(name: str) -> None:
    model = random_model()
    before, after = (
        Config.model_validate(
            {
                "model": SHAPE,
                "training": {"max_steps": 1},
                "optimizer": {"name": name, "weight_decay": decay, "beta1": beta},
            }
        )
        for decay, beta in ((0.1, 0.9), (0.2, 0.8))
    )
    first, second = (make_optimizers(model, recipe, torch.float32) for recipe in (before, after))
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    first.step(1.0)
    second.load_state_dict(first.state_dict())
    fresh = make_optimizers(model, after, torch.float32)
    for loaded, own in zip(second.groups, fresh.groups, strict=True):
        assert loaded["weight_decay"] == own["weight_decay"]
        assert loaded.get("betas") == own.get("betas")
    assert all(optimizer.state for optimizer in second.optimizers)
