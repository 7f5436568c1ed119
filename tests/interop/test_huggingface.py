from typing import Any

import pytest
import torch
from conftest import random_model

from minigpt.errors import UserError
from minigpt.interop.huggingface import to_transformers

GPT2 = {"position": "learned", "norm": "layernorm", "feed_forward": "gelu", "qk_norm": False}
FAMILIES: dict[str, dict[str, Any]] = {
    "qwen3": {"n_kv_heads": 2},
    "llama": {"n_kv_heads": 2, "qk_norm": False},
    "gpt2": GPT2,
    "gpt2 with biases": GPT2 | {"bias": True},
}
TOKENS = torch.randint(50, (2, 16), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_weights_give_the_same_logits_in_transformers(family: str, scaled: bool, tied: bool) -> None:
    """Scaled embeddings are another matrix than the output; without the scale a tied one is one and the same."""
    model = random_model(**FAMILIES[family], scale_embeddings=scaled, tie_embeddings=tied)
    reference = to_transformers(model)
    assert reference.config.tie_word_embeddings == (tied and not scaled)
    with torch.no_grad():
        torch.testing.assert_close(model(TOKENS), reference(TOKENS).logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("key", "value"), [("norm", "layernorm"), ("feed_forward", "gelu"), ("bias", True)])
def test_a_setting_that_no_family_has_is_named(key: str, value: Any) -> None:
    with pytest.raises(UserError, match=f"model.{key} = {value}"):
        to_transformers(random_model(**{key: value}))
