"""Feed-forward: h = W·x + b, a = f(h), the same small network for every token by itself."""

import torch.nn.functional as F
from torch import Tensor, nn

from minigpt.config.hyperparameters import ModelConfig
from minigpt.model.layers import Linear


class FeedForward(nn.Module):
    """down(gelu(up(x))) as in GPT-2, or down(silu(gate(x)) * up(x)), which is SwiGLU (Shazeer 2020)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = Linear(config.d_model, config.d_ff, config.bias) if config.feed_forward == "swiglu" else None
        self.up_proj = Linear(config.d_model, config.d_ff, config.bias)
        self.down_proj = Linear(config.d_ff, config.d_model, config.bias)

    def forward(self, x: Tensor) -> Tensor:  # B T D -> B T D
        return self.down_proj(self.activate(x))

    def activate(self, x: Tensor) -> Tensor:  # B T D -> B T F
        """The hidden neurons of `x`."""
        if self.gate_proj is None:
            return F.gelu(self.up_proj(x), approximate="tanh")
        return F.silu(self.gate_proj(x)) * self.up_proj(x)
