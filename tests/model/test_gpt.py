import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import ARCHITECTURES, SHAPE, random_model

from minigpt.config.hyperparameters import ModelConfig
from minigpt.model.attention import WORTH_HALVING, attention_weights, causal_mixture
from minigpt.model.cache import KVCache
from minigpt.model.gpt import GPT

TOKENS = torch.randint(50, (2, 16), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("options", ARCHITECTURES, ids=lambda options: "-".join(map(str, options.values())))
def test_cached_decoding_equals_the_full_forward_pass(options: dict[str, Any]) -> None:
    model, cache = random_model(**options), KVCache(ModelConfig(**{**SHAPE, **options}))
    with torch.no_grad():
        full = model(TOKENS)
        parts = [model(TOKENS[:, :5], cache), *(model(TOKENS[:, i : i + 1], cache) for i in range(5, 16))]
    torch.testing.assert_close(torch.cat(parts, 1), full, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("position", ["rope", "learned"])
def test_a_future_token_cannot_change_past_logits(position: str) -> None:
    model, changed = random_model(position=position), TOKENS.clone()
    changed[:, 9] = (changed[:, 9] + 1) % 50
    before, after = model(TOKENS), model(changed)
    assert torch.equal(before[:, :9], after[:, :9])
    assert not torch.allclose(before[:, 9:], after[:, 9:])


def test_a_past_token_changes_later_logits_so_attention_is_at_work() -> None:
    model, changed = random_model(), TOKENS.clone()
    changed[:, 0] = (changed[:, 0] + 1) % 50
    assert not torch.allclose(model(TOKENS)[:, -1], model(changed)[:, -1])


@pytest.mark.parametrize("tie_embeddings", [True, False])
@pytest.mark.parametrize("d_model", [32, 256])
def test_an_untrained_model_has_a_loss_of_ln_vocab_size(tie_embeddings: bool, d_model: int) -> None:
    model = GPT(ModelConfig(vocab_size=1000, d_model=d_model, tie_embeddings=tie_embeddings))
    model.initialise(seed=3)
    tokens = torch.randint(1000, (4, 65), generator=torch.Generator().manual_seed(0))
    loss = F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten())
    assert loss.item() == pytest.approx(math.log(1000), rel=0.02)


def test_gpt2_begins_smaller_where_it_writes_into_the_residual_stream() -> None:
    model = GPT(ModelConfig(**SHAPE, initialisation="gpt2"))
    model.initialise(seed=0)
    for block in model.blocks:
        attention, network = block.attention, block.feed_forward
        deviations = [layer.weight.std().item() for layer in (attention.o_proj, network.down_proj, network.up_proj)]
        assert deviations == pytest.approx([0.01, 0.01, 0.02], rel=0.1)  # 0.02 / sqrt(2 * 2 layers)


@pytest.mark.parametrize("n_kv_heads", [4, 2])
def test_attention_begins_by_handing_on_the_mean_of_what_it_saw(n_kv_heads: int) -> None:
    model = GPT(ModelConfig(**{**SHAPE, "n_kv_heads": n_kv_heads}))
    model.initialise(seed=0)
    attention = model.blocks[0].attention
    assert n_kv_heads < 4 or torch.equal(attention.o_proj.weight, attention.v_proj.weight.T)
    seen = torch.randn(1, 1, 32, generator=torch.Generator().manual_seed(0))
    handed_on = attention(seen, model.rotary(slice(1)))
    assert F.cosine_similarity(seen, handed_on, dim=-1) > 0.5


def test_the_same_seed_draws_the_same_weights_and_another_seed_others() -> None:
    models = [GPT(ModelConfig(**SHAPE)) for _ in range(3)]
    for model, seed in zip(models, (5, 5, 6), strict=True):
        model.initialise(seed)
    first, same, other = (model.token_embedding.weight for model in models)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("n_queries", [1, 3, 7])
def test_explicit_weights_times_values_equal_the_fused_kernel(n_queries: int) -> None:
    query, key, value = torch.randn(3, 2, 4, 7, 8, generator=torch.Generator().manual_seed(0)).unbind(0)
    fused = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    explicit = attention_weights(query[:, :, -n_queries:], key) @ value
    torch.testing.assert_close(explicit, fused[:, :, -n_queries:])


@pytest.mark.parametrize("length", [7, 2 * WORTH_HALVING, 2 * WORTH_HALVING + 1])
def test_attention_in_plain_products_equals_the_fused_kernel_forward_and_backward(length: int) -> None:
    inputs = torch.randn(3, 2, 4, length, 8, generator=torch.Generator().manual_seed(0))
    plain, fused = inputs.clone().requires_grad_(), inputs.clone().requires_grad_()
    mixed = causal_mixture(*plain.unbind(0)), F.scaled_dot_product_attention(*fused.unbind(0), is_causal=True)
    torch.testing.assert_close(*mixed)
    for part in mixed:
        part.sin().sum().backward()
    torch.testing.assert_close(plain.grad, fused.grad)
