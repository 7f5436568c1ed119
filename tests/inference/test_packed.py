from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import random_model
from torch import Tensor

from minigpt.config.recipe import load_recipe, save_recipe
from minigpt.data.batches import evaluation_windows
from minigpt.data.sources import open_source
from minigpt.data.tokens import prepare_tokens
from minigpt.evaluation.loss import evaluate
from minigpt.inference import arrays, compiled
from minigpt.inference import packed as packing
from minigpt.inference.folding import Before, fold
from minigpt.inference.packed import PackedLinear, inference_dtype, pack, with_packed_blocks
from minigpt.model.cache import KVCache
from minigpt.model.gpt import GPT
from minigpt.runs import load_run

CPU = torch.device("cpu")
CONFIG = random_model().config
TOKENS = torch.randint(50, (2, 16), generator=torch.Generator().manual_seed(0))
needs_compiler = pytest.mark.skipif(compiled.load() is None, reason="needs a C++ compiler")
SMALL = [torch.bfloat16, pytest.param(torch.int8, marks=needs_compiler)]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"bias": True},
    {"n_kv_heads": 2, "tie_embeddings": False},
    {"qk_norm": False, "scale_embeddings": False},
    {"norm": "layernorm", "bias": True},
    {"norm": "layernorm", "norm_epsilon": 0.5},
    {"norm_epsilon": 0.5},
    {"feed_forward": "gelu", "d_head": 6},
    {"d_head": 5, "position": "learned"},
    {"position": "learned", "norm": "layernorm", "feed_forward": "gelu", "qk_norm": False, "bias": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(
    ("way", "smallest"),
    [(pack, 2**17), (pack, 0), (with_packed_blocks, 0)],
    ids=["by NumPy", "by NumPy with torch's matmuls", "by torch"],
)
def test_a_packed_model_gives_the_same_logits_token_by_token(
    way: Any, smallest: int, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "WORTH_TORCH", smallest)
    model, cache = random_model(**options), KVCache(random_model(**options).config)
    packed = way(model, torch.float32)
    with torch.no_grad():
        parts = [packed.next_logits(part, cache) for part in TOKENS.split([5, *[1] * 11], 1)]
        torch.testing.assert_close(torch.stack(parts, 1), model(TOKENS)[:, 4:], rtol=1e-4, atol=1e-5)
        assert torch.equal(model(TOKENS), random_model(**options)(TOKENS)), "packing must leave the model as it is"


@needs_compiler
@pytest.mark.parametrize(
    "options", [*OPTIONS, {"d_head": 32, "n_kv_heads": 2}, {"d_head": 16, "norm": "layernorm"}], ids=str
)
def test_a_model_in_int8_gives_nearly_the_same_logits_token_by_token(options: dict[str, Any]) -> None:
    model = random_model(**options)
    packed, cache = pack(model, torch.int8), KVCache(model.config)
    with torch.no_grad():
        parts = [packed.next_logits(part, cache) for part in TOKENS.split([5, *[1] * 11], 1)]
        exact = model(TOKENS)[:, 4:]
    assert ((torch.stack(parts, 1) - exact).norm() / exact.norm()).item() < 0.05


def test_packing_leaves_a_model_that_is_being_trained_in_training() -> None:
    model = random_model(dropout=0.1).train()
    packed = with_packed_blocks(model, torch.float32)
    assert all(part.training for part in model.modules())
    with torch.no_grad():
        assert torch.equal(packed(TOKENS), packed(TOKENS))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("width", [64, 42, 8, 200])
def test_small_weights_are_the_same_matrix_but_for_rounding(bias: bool, width: int, dtype: torch.dtype) -> None:
    layers = [torch.nn.Linear(width, n, bias=bias) for n in (40, 33)]
    x = torch.randn(2, 3, width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        exact = torch.cat([layer(x) for layer in layers], -1)
        folded = fold(layers, Before.NOTHING)
        by_torch = PackedLinear(folded, dtype)(x).float()
        by_numpy = arrays.matmul_by_torch(folded.weight.to(dtype), folded.bias.to(dtype))(x.numpy())
    for rounded in (by_torch, torch.from_numpy(by_numpy)):
        assert 0 < ((rounded - exact).norm() / exact.norm()).item() < 0.02


class TokenByToken(GPT):
    """A model that decodes: one token after the other, the others in a cache."""

    def __init__(self, model: GPT, dtype: torch.dtype) -> None:
        super().__init__(model.config)
        self.packed = pack(model, dtype)
        self.lm_head = torch.nn.Identity()

    def hidden(self, token_ids: Tensor, cache: KVCache | None = None) -> Tensor:
        cache = cache or KVCache(self.config)
        return torch.stack([self.packed.next_logits(column, cache) for column in token_ids.split(1, 1)], 1)


@pytest.mark.parametrize("dtype", SMALL)
def test_small_weights_change_the_quality_of_a_text_by_less_than_half_a_percent(
    dtype: torch.dtype, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "WORTH_TORCH", 0)  # small matrices in bfloat16 too
    trained = load_run(run)
    data = trained.config.data
    tokens = prepare_tokens(open_source(data), trained.tokenizer, data.validation_fraction, run.parents[1] / "data")
    windows = list(evaluation_windows(tokens.validation[:4001], 32, 32, trained.tokenizer.end_of_text))
    exact, rounded = (
        evaluate(model, windows, trained.tokenizer).bits_per_byte
        for model in (trained.model, TokenByToken(trained.model, dtype))
    )
    assert rounded != exact
    assert rounded == pytest.approx(exact, rel=0.005)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_inference_on_a_cpu_is_int8_where_there_is_a_compiler(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    able = torch.int8 if compiled.load() else dtype
    assert inference_dtype(CONFIG, "int8", dtype, CPU) == able
    monkeypatch.setattr(packing, "load", lambda: None)
    assert inference_dtype(CONFIG, "int8", dtype, CPU) == dtype


def test_a_neuron_far_below_zero_is_zero_without_a_word(recwarn: pytest.WarningsRecorder) -> None:
    model = random_model()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(30)  # exp(-gate) is infinite then
        logits, exact = pack(model, torch.float32).next_logits(TOKENS, KVCache(model.config)), model(TOKENS)[:, -1]
    torch.testing.assert_close(logits, exact, rtol=1e-3, atol=1e-3 * exact.abs().max().item())
    assert not recwarn.list


def test_a_run_in_float32_is_sampled_in_it_only_where_that_was_wished_for(tmp_path: Path) -> None:
    recipe = tmp_path / "config.yaml"
    recipe.write_text("training: {max_steps: 1}")

    def precision(*changes: str) -> str | None:
        return load_recipe(recipe, changes).sampling.precision

    assert precision() == "int8"
    assert precision("run.precision=bfloat16") == "int8"
    assert precision("run.precision=float32") == "float32"
    assert precision("run.precision=float32", "sampling.precision=int8") == "int8"
    config = load_recipe(recipe)
    came_out = config.model_copy(update={"run": config.run.model_copy(update={"precision": "float32"})})
    save_recipe(came_out, recipe)
    assert precision() == "int8"
