"""The families of models that everybody runs, and which of them a model of minigpt's is."""

from typing import Literal

from minigpt.config.hyperparameters import ModelConfig
from minigpt.errors import UserError

Family = Literal["gpt2", "llama", "qwen3"]
GPT2 = {"position": "learned", "norm": "layernorm", "feed_forward": "gelu", "qk_norm": False}
LLAMA = {"position": "rope", "norm": "rmsnorm", "feed_forward": "swiglu"}
"""Settings of Qwen3 (with qk_norm) and Llama (without)."""


def family_of(config: ModelConfig) -> Family:
    """The family that computes the same; UserError names a setting that no family has beside the others."""
    values = config.model_dump()
    nearest = GPT2 if config.position == "learned" else LLAMA
    for name, value in nearest.items():
        if values[name] != value:
            raise UserError(
                f"model.{name} = {values[name]}: no family of models has it beside model.position = {config.position}, "
                f"so this run cannot be exported; train one with model.{name}={str(value).lower()}"
            )
    if nearest is GPT2:
        if (config.n_kv_heads, config.n_heads * config.d_head) != (config.n_heads, config.d_model):
            raise UserError(
                f"model.n_kv_heads = {config.n_kv_heads}, d_head = {config.d_head}: GPT-2 has as many as n_heads "
                f"({config.n_heads}), which make up d_model ({config.d_model}); train one with model.position=rope, "
                "norm=rmsnorm and feed_forward=swiglu"
            )
        return "gpt2"
    if config.qk_norm and config.bias:
        raise UserError(
            "model.bias = True: Qwen3 has no biases in its feed-forward, and Llama no model.qk_norm, so this run "
            "cannot be exported; train one with model.bias=false or model.qk_norm=false"
        )
    return "qwen3" if config.qk_norm else "llama"
