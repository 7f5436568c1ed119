"""Normalisation: each vector is brought to unit scale, then stretched by learned gains."""

import torch.nn.functional as F
from torch import Tensor, nn

from minigpt.config.hyperparameters import ModelConfig


class RMSNorm(nn.RMSNorm):
    """torch's RMSNorm, with the gains in the input's precision: only then its kernel is fused."""

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


def make_norm(config: ModelConfig) -> nn.Module:
    """RMSNorm (Zhang 2019) or LayerNorm (Ba 2016) over the residual stream's width."""
    if config.norm == "rmsnorm":
        return RMSNorm(config.d_model, eps=config.norm_epsilon)
    return nn.LayerNorm(config.d_model, eps=config.norm_epsilon, bias=config.bias)


def make_head_norm(config: ModelConfig) -> nn.Module:
    """RMSNorm over one head's width for queries and keys, or nothing."""
    return RMSNorm(config.d_head, eps=config.norm_epsilon) if config.qk_norm else nn.Identity()
