import math
from itertools import product
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from minigpt.config import ModelConfig
from minigpt.model.attention import attention_weights
from minigpt.model.cache import Cache
from minigpt.model.gpt import GPT

SHAPE = {"vocab_size": 50, "context_length": 16, "n_layers": 2, "n_heads": 4, "d_model": 32}
OPTIONS = [
    dict(
        zip(
            ("position", "norm", "feed_forward", "qk_norm", "bias", "tie_embeddings", "n_kv_heads"), values, strict=True
        )
    )
    for values in product(
        ("rope", "learned"),
        ("rmsnorm", "layernorm"),
        ("swiglu", "gelu"),
        (True, False),
        (True, False),
        (True, False),
        (4, 2),
    )
]


def make(**changes: Any) -> GPT:
    """A model whose weights are random everywhere, also where a fresh one has zeros."""
    model = GPT(ModelConfig(**{**SHAPE, **changes})).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.1, 0.2, generator=generator)
    return model


TOKENS = torch.randint(50, (2, 16), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("options", OPTIONS, ids=lambda options: "-".join(map(str, options.values())))
def test_cached_decoding_equals_the_full_forward_pass(options: dict[str, Any]) -> None:
    model, cache = make(**options), Cache(ModelConfig(**{**SHAPE, **options}))
    with torch.no_grad():
        full = model(TOKENS)
        parts = [model(TOKENS[:, :5], cache), *(model(TOKENS[:, i : i + 1], cache) for i in range(5, 16))]
    torch.testing.assert_close(torch.cat(parts, 1), full, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("position", ["rope", "learned"])
def test_a_future_token_cannot_change_past_logits(position: str) -> None:
    model, changed = make(position=position), TOKENS.clone()
    changed[:, 9] = (changed[:, 9] + 1) % 50
    before, after = model(TOKENS), model(changed)
    assert torch.equal(before[:, :9], after[:, :9])
    assert not torch.allclose(before[:, 9:], after[:, 9:])


def test_a_past_token_changes_later_logits_so_attention_is_at_work() -> None:
    model, changed = make(), TOKENS.clone()
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


@pytest.mark.parametrize("n_kv_heads", [4, 2])
def test_attention_begins_by_handing_on_the_mean_of_what_it_saw(n_kv_heads: int) -> None:
    model = GPT(ModelConfig(**{**SHAPE, "n_kv_heads": n_kv_heads}))
    model.initialise(seed=0)
    attention = model.blocks[0].attention
    assert n_kv_heads < 4 or torch.equal(attention.o_proj.weight, attention.v_proj.weight.T)
    seen = torch.randn(1, 1, 32, generator=torch.Generator().manual_seed(0))
    handed_on = attention(seen, model.rotary(0, 1))
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


@pytest.mark.parametrize("scaled", [True, False])
@pytest.mark.parametrize("family", ["qwen3", "llama", "gpt2"])
def test_the_same_weights_give_the_same_logits_in_transformers(family: str, scaled: bool) -> None:
    """The default model is Qwen3, without QK-norm Llama; the classical setting is GPT-2.

    Scaled embeddings are another matrix than the output; without the scale it is one and the same there too.
    """
    import transformers

    common = {"vocab_size": 50, "tie_word_embeddings": not scaled, "attn_implementation": "eager"}
    if family == "gpt2":
        model = make(
            position="learned", norm="layernorm", feed_forward="gelu", qk_norm=False, bias=True, scale_embeddings=scaled
        )
        config = transformers.GPT2Config(n_positions=16, n_embd=32, n_layer=2, n_head=4, **common)
        reference = transformers.GPT2LMHeadModel(config).eval()
        reference.load_state_dict(as_gpt2(model))
    else:
        model = make(qk_norm=family == "qwen3", n_kv_heads=2, scale_embeddings=scaled)
        sizes = {
            "hidden_size": 32, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 16, "rms_norm_eps": 1e-5,
            "rope_theta": 10_000.0,
        }  # fmt: skip
        kinds = {
            "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
            "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
        }
        config_class, model_class = kinds[family]
        reference = model_class(config_class(**sizes, **common)).eval()
        reference.load_state_dict(as_llama(model))
    with torch.no_grad():
        torch.testing.assert_close(model(TOKENS), reference(TOKENS).logits, rtol=1e-4, atol=1e-4)


def as_llama(model: GPT) -> dict[str, torch.Tensor]:
    names = {
        "token_embedding": "model.embed_tokens", "blocks": "model.layers", "attention_norm": "input_layernorm",
        "feed_forward_norm": "post_attention_layernorm", "attention": "self_attn", "feed_forward": "mlp",
        "final_norm": "model.norm",
    }  # fmt: skip
    weights = {
        ".".join(names.get(part, part) for part in name.split(".")): tensor
        for name, tensor in model.state_dict().items()
    }
    weights["model.embed_tokens.weight"] = weights["model.embed_tokens.weight"] * model.embedding_scale
    return weights


def as_gpt2(model: GPT) -> dict[str, torch.Tensor]:
    weights = model.state_dict()
    result = {
        "transformer.wte.weight": weights["token_embedding.weight"] * model.embedding_scale,
        "transformer.wpe.weight": weights["position_embedding.weight"],
        "lm_head.weight": weights["token_embedding.weight"],
    }
    for kind in ("weight", "bias"):
        result[f"transformer.ln_f.{kind}"] = weights[f"final_norm.{kind}"]
        for layer in range(2):
            ours, theirs = f"blocks.{layer}", f"transformer.h.{layer}"
            qkv = [weights[f"{ours}.attention.{name}_proj.{kind}"].t() for name in "qkv"]
            result |= {
                f"{theirs}.ln_1.{kind}": weights[f"{ours}.attention_norm.{kind}"],
                f"{theirs}.ln_2.{kind}": weights[f"{ours}.feed_forward_norm.{kind}"],
                f"{theirs}.attn.c_attn.{kind}": torch.cat(qkv, -1),
                f"{theirs}.attn.c_proj.{kind}": weights[f"{ours}.attention.o_proj.{kind}"].t(),
                f"{theirs}.mlp.c_fc.{kind}": weights[f"{ours}.feed_forward.up_proj.{kind}"].t(),
                f"{theirs}.mlp.c_proj.{kind}": weights[f"{ours}.feed_forward.down_proj.{kind}"].t(),
            }
    return result
