"""The families of models that everybody runs, and which of them a model of minigpt's is."""

from typing import Literal

import torch
from torch import Tensor

from minigpt.config.hyperparameters import ModelConfig
from minigpt.errors import UserError
from minigpt.model.gpt import GPT

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


def is_tied(config: ModelConfig) -> bool:
    """Whether the output matrix is the embedding in every family, none of which scales it."""
    return config.tie_embeddings and not config.scale_embeddings


def weights_for_families(model: GPT) -> dict[str, Tensor]:
    """The model's weights on the CPU, by minigpt's names, as all families have them.

    The embedding has its factor in it, and the output matrix is there where it is another. GPT-2 has biases everywhere:
    zeros where there are none.
    """
    made: dict[str, Tensor] = {}
    state = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    gpt2 = family_of(model.config) == "gpt2"
    for name, weight in state.items():
        made[name] = weight * model.embedding_scale if name == "token_embedding.weight" else weight
        bias = f"{name.removesuffix('weight')}bias"
        if gpt2 and name.endswith(("proj.weight", "norm.weight")) and bias not in state:
            made[bias] = torch.zeros(len(weight))
    if is_tied(model.config):
        del made["lm_head.weight"]
    return made
