"""Normalisation: each vector is brought to unit scale, then stretched by learned gains."""

from torch import nn

from minigpt.config import ModelConfig

EPSILON = 1e-5  # as in GPT-2 and Llama


def make_norm(config: ModelConfig) -> nn.Module:
    """RMSNorm (Zhang 2019) or LayerNorm (Ba 2016) over the residual stream's width."""
    if config.norm == "rmsnorm":
        return nn.RMSNorm(config.d_model, eps=EPSILON)
    return nn.LayerNorm(config.d_model, eps=EPSILON, bias=config.bias)


def make_head_norm(config: ModelConfig) -> nn.Module:
    """RMSNorm over one head's width for queries and keys, or nothing."""
    return nn.RMSNorm(config.d_head, eps=EPSILON) if config.qk_norm else nn.Identity()
