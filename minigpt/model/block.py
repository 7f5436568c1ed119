"""A block: two residual lines."""

from torch import Tensor, nn

from minigpt.config.hyperparameters import ModelConfig
from minigpt.model.attention import Attention
from minigpt.model.cache import LayerCache
from minigpt.model.dropout import Dropout
from minigpt.model.feed_forward import FeedForward
from minigpt.model.norm import make_norm
from minigpt.model.position import Rotation


class Block(nn.Module):
    """Pre-norm transformer block: each token first looks around (attention), then thinks (feed-forward)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.attention_norm = make_norm(config)
        self.attention = Attention(config)
        self.feed_forward_norm = make_norm(config)
        self.feed_forward = FeedForward(config)
        self.dropout = Dropout(config.dropout)

    def forward(
        self, x: Tensor, rotation: Rotation | None, cache: LayerCache | None = None
    ) -> Tensor:  # B T D -> B T D
        x = x + self.dropout(self.attention(self.attention_norm(x.float()), rotation, cache))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x.float())))
