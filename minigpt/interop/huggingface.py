"""The same model in Hugging Face Transformers: Qwen3, without QK-norm Llama, in the classical setting GPT-2."""

from typing import Any

import torch
from torch import Tensor

from minigpt.config.hyperparameters import ModelConfig
from minigpt.errors import UserError
from minigpt.model.gpt import GPT
from minigpt.model.norm import EPSILON

NAMES = {
    "token_embedding": "model.embed_tokens",
    "blocks": "model.layers",
    "attention": "self_attn",
    "attention_norm": "input_layernorm",
    "feed_forward": "mlp",
    "feed_forward_norm": "post_attention_layernorm",
    "final_norm": "model.norm",
}
"""What Llama and Qwen3 call the parts of a model; q_proj, gate_proj, lm_head and so on have the same names there."""


def to_transformers(model: GPT) -> Any:
    """A Transformers model in evaluation mode, on the CPU, that gives the same logits.

    Output and input embedding are written apart where the input is scaled. UserError names the setting that no family
    of Transformers has.
    """
    import transformers

    config, weights = model.config, {name: tensor.cpu() for name, tensor in model.state_dict().items()}
    tied = config.tie_embeddings and not config.scale_embeddings
    common: dict[str, Any] = {"vocab_size": config.vocab_size, "tie_word_embeddings": tied}
    if _is_gpt2(config):
        made = transformers.GPT2LMHeadModel(
            transformers.GPT2Config(
                n_positions=config.context_length,
                n_embd=config.d_model,
                n_layer=config.n_layers,
                n_head=config.n_heads,
                n_inner=config.d_ff,
                layer_norm_epsilon=EPSILON,
                **common,
            )
        )
        made.load_state_dict(_gpt2_weights(weights, config, model.embedding_scale))
        return made.eval()
    for name, value in (("position", "rope"), ("norm", "rmsnorm"), ("feed_forward", "swiglu"), ("bias", False)):
        if getattr(config, name) != value:
            raise UserError(
                f"model.{name} = {getattr(config, name)}: with the other settings no model of Transformers has it; "
                f"Qwen3 and Llama need {value}, GPT-2 position learned, norm layernorm, feed_forward gelu, no qk_norm"
            )
    family = "Qwen3" if config.qk_norm else "Llama"
    settings = getattr(transformers, f"{family}Config")(
        hidden_size=config.d_model,
        intermediate_size=config.d_ff,
        num_hidden_layers=config.n_layers,
        num_attention_heads=config.n_heads,
        num_key_value_heads=config.n_kv_heads,
        head_dim=config.d_head,
        max_position_embeddings=config.context_length,
        rms_norm_eps=EPSILON,
        rope_parameters={"rope_type": "default", "rope_theta": config.rope_theta},
        **common,
    )
    made = getattr(transformers, f"{family}ForCausalLM")(settings)
    renamed = {".".join(NAMES.get(part, part) for part in name.split(".")): weights[name] for name in weights}
    renamed["model.embed_tokens.weight"] = weights["token_embedding.weight"] * model.embedding_scale
    made.load_state_dict(renamed)
    return made.eval()


def _is_gpt2(config: ModelConfig) -> bool:
    return (
        config.position == "learned"
        and config.norm == "layernorm"
        and config.feed_forward == "gelu"
        and not config.qk_norm
        and config.n_kv_heads == config.n_heads
        and config.d_head * config.n_heads == config.d_model
    )


def _gpt2_weights(weights: dict[str, Tensor], config: ModelConfig, scale: float) -> dict[str, Tensor]:
    """GPT-2's names; its matrices are transposed, Q, K and V are one, and every part has a bias (here zeros)."""

    def both(name: str) -> tuple[Tensor, Tensor]:
        weight = weights[f"{name}.weight"]
        return weight, weights.get(f"{name}.bias", torch.zeros(len(weight)))

    made = {
        "transformer.wte.weight": weights["token_embedding.weight"] * scale,
        "transformer.wpe.weight": weights["position_embedding.weight"],
        "lm_head.weight": weights["lm_head.weight"],
    }
    made["transformer.ln_f.weight"], made["transformer.ln_f.bias"] = both("final_norm")
    for layer in range(config.n_layers):
        ours, theirs = f"blocks.{layer}", f"transformer.h.{layer}"
        for ours_norm, theirs_norm in (("attention_norm", "ln_1"), ("feed_forward_norm", "ln_2")):
            made[f"{theirs}.{theirs_norm}.weight"], made[f"{theirs}.{theirs_norm}.bias"] = both(f"{ours}.{ours_norm}")
        products = {
            "attn.c_attn": [f"attention.{name}_proj" for name in "qkv"],
            "attn.c_proj": ["attention.o_proj"],
            "mlp.c_fc": ["feed_forward.up_proj"],
            "mlp.c_proj": ["feed_forward.down_proj"],
        }
        for name, parts in products.items():
            matrices, biases = zip(*(both(f"{ours}.{part}") for part in parts), strict=True)
            made[f"{theirs}.{name}.weight"], made[f"{theirs}.{name}.bias"] = torch.cat(matrices).T, torch.cat(biases)
    return made
