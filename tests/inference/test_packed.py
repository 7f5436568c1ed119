from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import random_model
from torch import Tensor

from minigpt.data.batches import evaluation_windows
from minigpt.data.sources import open_source
from minigpt.data.tokens import prepare_tokens
from minigpt.evaluation.loss import evaluate
from minigpt.inference import native
from minigpt.inference.folding import Before, fold
from minigpt.inference.packed import PackedLinear, inference_dtype, pack
from minigpt.model.cache import KVCache
from minigpt.model.gpt import GPT
from minigpt.runs import load_run

CPU = torch.device("cpu")
CONFIG = random_model().config
TOKENS = torch.randint(50, (2, 16), generator=torch.Generator().manual_seed(0))
needs_compiled = pytest.mark.skipif(native.load() is None, reason="needs AVX-512 VNNI and g++")
SMALL = [torch.bfloat16, pytest.param(torch.int8, marks=needs_compiled)]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"bias": True},
    {"n_kv_heads": 2, "tie_embeddings": False},
    {"qk_norm": False, "scale_embeddings": False},
    {"norm": "layernorm", "bias": True},
    {"norm": "layernorm"},
    {"feed_forward": "gelu", "d_head": 6},
    {"position": "learned", "norm": "layernorm", "feed_forward": "gelu", "qk_norm": False, "bias": True},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_packed_model_gives_the_same_logits_token_by_token(options: dict[str, Any]) -> None:
    model, cache = random_model(**options), KVCache(random_model(**options).config)
    packed = pack(model, torch.float32)
    with torch.no_grad():
        parts = [packed(TOKENS[:, :5], cache), *(packed(TOKENS[:, i : i + 1], cache) for i in range(5, 16))]
        torch.testing.assert_close(torch.cat(parts, 1), model(TOKENS), rtol=1e-4, atol=1e-5)
        assert torch.equal(model(TOKENS), random_model(**options)(TOKENS)), "packing must leave the model as it is"


@needs_compiled
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
    packed = pack(model, torch.float32)
    assert all(part.training for part in model.modules())
    with torch.no_grad():
        assert torch.equal(packed(TOKENS), packed(TOKENS))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("width", [64, 42, 8, 200])
def test_small_weights_are_the_same_matrix_but_for_rounding(bias: bool, width: int) -> None:
    layers = [torch.nn.Linear(width, n, bias=bias) for n in (40, 33)]
    x = torch.randn(2, 3, width, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        exact = torch.cat([layer(x) for layer in layers], -1)
        rounded = PackedLinear(fold(layers, Before.NOTHING), torch.bfloat16)(x).float()
    assert ((rounded - exact).norm() / exact.norm()).item() < 0.02


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
def test_small_weights_change_the_quality_of_a_text_by_less_than_half_a_percent(dtype: torch.dtype, run: Path) -> None:
    trained = load_run(run)
    data = trained.config.data
    tokens = prepare_tokens(open_source(data), trained.tokenizer, data.validation_fraction, run.parents[1] / "data")
    windows = list(evaluation_windows(tokens.validation[:4001], 32, 32, trained.tokenizer.end_of_text))
    exact, rounded = (
        evaluate(model, windows, trained.tokenizer.token_bytes).bits_per_byte
        for model in (trained.model, TokenByToken(trained.model, dtype))
    )
    assert rounded != exact
    assert rounded == pytest.approx(exact, rel=0.005)


def test_inference_on_a_cpu_is_int8_where_it_trained_in_bfloat16_and_has_a_compiler(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    able = torch.int8 if native.load() else torch.bfloat16
    assert inference_dtype(CONFIG, torch.bfloat16, CPU) == able
    assert inference_dtype(CONFIG, torch.float32, CPU) == torch.float32
    assert inference_dtype(CONFIG, torch.bfloat16, torch.device("cuda")) == torch.bfloat16
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    native.load.cache_clear()
    assert inference_dtype(CONFIG, torch.bfloat16, CPU) == torch.bfloat16
    native.load.cache_clear()
