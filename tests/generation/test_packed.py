from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import random_model

from minigpt.data.batches import evaluation_windows
from minigpt.data.sources import open_source
from minigpt.data.tokens import prepare_tokens
from minigpt.evaluation import evaluate
from minigpt.generation.packed import PackedLinear, pack, weights_for_writing
from minigpt.model.cache import Cache
from minigpt.runs import load_run

CPU = torch.device("cpu")
TOKENS = torch.randint(50, (2, 16), generator=torch.Generator().manual_seed(0))
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
    model, cache = random_model(**options), Cache(random_model(**options).config)
    packed = pack(model, torch.float32)
    with torch.no_grad():
        parts = [packed(TOKENS[:, :5], cache), *(packed(TOKENS[:, i : i + 1], cache) for i in range(5, 16))]
        torch.testing.assert_close(torch.cat(parts, 1), model(TOKENS), rtol=1e-4, atol=1e-5)
        assert torch.equal(model(TOKENS), random_model(**options)(TOKENS)), "packing must leave the model as it is"


def test_packing_leaves_a_model_that_is_being_trained_in_training() -> None:
    model = random_model(dropout=0.1).train()
    packed = pack(model, torch.float32)
    assert all(part.training for part in model.modules())
    with torch.no_grad():
        assert torch.equal(packed(TOKENS), packed(TOKENS))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int8])
@pytest.mark.parametrize("width", [64, 44, 8, 200])
def test_small_weights_are_the_same_matrix_but_for_rounding(dtype: torch.dtype, bias: bool, width: int) -> None:
    generator = torch.Generator().manual_seed(0)
    layers = [torch.nn.Linear(width, n, bias=bias) for n in (40, 33)]
    x = torch.randn(2, 3, width, generator=generator)
    with torch.no_grad():
        exact = torch.cat([layer(x) for layer in layers], -1)
        rounded = PackedLinear(layers, dtype)(x).float()
    assert ((rounded - exact).norm() / exact.norm()).item() < 0.01


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.int8])
def test_small_weights_change_the_quality_of_a_text_by_less_than_half_a_percent(dtype: torch.dtype, run: Path) -> None:
    trained = load_run(run)
    data = trained.config.data
    tokens = prepare_tokens(open_source(data), trained.tokenizer, data.validation_fraction, run.parents[1] / "data")
    windows = list(evaluation_windows(tokens.validation[:4001], 32, 32, trained.tokenizer.end_of_text))
    exact, rounded = (
        evaluate(model, windows, trained.tokenizer.token_bytes).bits_per_byte
        for model in (trained.model, pack(trained.model, dtype))
    )
    assert rounded != exact
    assert rounded == pytest.approx(exact, rel=0.005)


def test_one_text_is_written_with_int8_weights_and_many_with_bfloat16_ones() -> None:
    assert weights_for_writing(torch.bfloat16, CPU, 1) == torch.int8
    assert weights_for_writing(torch.bfloat16, CPU, 16) == torch.bfloat16
    assert weights_for_writing(torch.float32, CPU, 1) == torch.float32
    assert weights_for_writing(torch.bfloat16, torch.device("cuda"), 1) == torch.bfloat16
