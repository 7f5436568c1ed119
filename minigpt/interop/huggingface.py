"""Folders of Hugging Face Transformers: GPT-2, Llama, Qwen2 and Qwen3, with their weights by minigpt's names."""

from typing import Any

import torch
from torch import Tensor

from minigpt.config.hyperparameters import ModelConfig
from minigpt.interop.families import family_of, is_tied, weights_for_families
from minigpt.model.gpt import GPT

CLASSES = {"gpt2": "GPT2LMHeadModel", "llama": "LlamaForCausalLM", "qwen3": "Qwen3ForCausalLM"}
LLAMA_NAMES = {
    "token_embedding": "model.embed_tokens",
    "blocks": "model.layers",
    "attention": "self_attn",
    "attention_norm": "input_layernorm",
    "feed_forward": "mlp",
    "feed_forward_norm": "post_attention_layernorm",
    "final_norm": "model.norm",
}
"""What Llama and Qwen call the parts of a model; q_proj, gate_proj, lm_head and so on have the same names there."""
GPT2_NAMES = {
    "token_embedding": "transformer.wte",
    "position_embedding": "transformer.wpe",
    "final_norm": "transformer.ln_f",
    "blocks": "transformer.h",
    "attention_norm": "ln_1",
    "feed_forward_norm": "ln_2",
    "attention.q_proj": "attn.c_attn",
    "attention.k_proj": "attn.c_attn",
    "attention.v_proj": "attn.c_attn",
    "attention.o_proj": "attn.c_proj",
    "feed_forward.up_proj": "mlp.c_fc",
    "feed_forward.down_proj": "mlp.c_proj",
}
"""What GPT-2 calls them; queries, keys and values are one matrix, and all the matrices of blocks are transposed."""


def their_name(name: str, gpt2: bool) -> str:
    """What Transformers calls a parameter of ours."""
    *path, kind = name.split(".")
    if not gpt2:
        return ".".join([*(LLAMA_NAMES.get(part, part) for part in path), kind])
    if path[0] != "blocks":
        return ".".join([GPT2_NAMES.get(path[0], path[0]), kind])
    _, layer, *inside = path
    return f"{GPT2_NAMES['blocks']}.{layer}.{GPT2_NAMES['.'.join(inside)]}.{kind}"


def is_transposed(name: str) -> bool:
    """Whether GPT-2 keeps a parameter of ours the other way round (inputs first)."""
    return name.startswith("blocks.") and name.endswith("_proj.weight")


def settings(config: ModelConfig) -> dict[str, Any]:
    """What `config.json` says of a model's shape; UserError names what no family has."""
    family = family_of(config)
    common = {
        "architectures": [CLASSES[family]],
        "model_type": family,
        "vocab_size": config.vocab_size,
        "tie_word_embeddings": is_tied(config),
    }
    if family == "gpt2":
        return common | {
            "n_positions": config.context_length,
            "n_embd": config.d_model,
            "n_layer": config.n_layers,
            "n_head": config.n_heads,
            "n_inner": config.d_ff,
            "activation_function": "gelu_new",
            "layer_norm_epsilon": config.norm_epsilon,
        }
    biases = {"attention_bias": config.bias, "mlp_bias": config.bias} if family == "llama" else {}
    return (
        common
        | biases
        | {
            "hidden_size": config.d_model,
            "intermediate_size": config.d_ff,
            "num_hidden_layers": config.n_layers,
            "num_attention_heads": config.n_heads,
            "num_key_value_heads": config.n_kv_heads,
            "head_dim": config.d_head,
            "hidden_act": "silu",
            "max_position_embeddings": config.context_length,
            "rms_norm_eps": config.norm_epsilon,
            "rope_theta": config.rope_theta,
            "rope_parameters": {"rope_type": "default", "rope_theta": config.rope_theta},
        }
    )


def their_weights(model: GPT) -> dict[str, Tensor]:
    """The model's weights as Transformers has them, on the CPU: GPT-2's matrices turned round, Q, K and V in one."""
    gpt2 = family_of(model.config) == "gpt2"
    made: dict[str, Tensor] = {}
    for name, weight in weights_for_families(model).items():
        weight = weight.T if gpt2 and is_transposed(name) else weight
        theirs = their_name(name, gpt2)
        made[theirs] = torch.cat((made[theirs], weight), dim=-1) if theirs in made else weight
    return {name: weight.contiguous() for name, weight in made.items()}


def to_transformers(model: GPT) -> Any:
    """A Transformers model in evaluation mode, on the CPU, that gives the same logits; UserError as `settings` says."""
    import transformers

    config = transformers.AutoConfig.for_model(**settings(model.config))
    made = transformers.AutoModelForCausalLM.from_config(config)
    weights = their_weights(model)
    if is_tied(model.config):
        weights["lm_head.weight"] = model.lm_head.weight
    made.load_state_dict(weights)
    return made.eval()
