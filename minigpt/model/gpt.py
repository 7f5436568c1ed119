"""The whole model: token ids -> vectors -> blocks -> logits."""

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from minigpt.config.hyperparameters import ModelConfig
from minigpt.model.attention import Attention
from minigpt.model.block import Block
from minigpt.model.cache import KVCache
from minigpt.model.dropout import Dropout
from minigpt.model.layers import Embedding, Linear
from minigpt.model.norm import make_norm
from minigpt.model.position import RotaryPositions, Rotation


def outline(config: ModelConfig) -> "GPT":
    """A model without memory for its weights: their names and shapes."""
    with torch.device("meta"):
        return GPT(config)


def residual_dtype(device: torch.device) -> torch.dtype:
    """Of the residual stream: on a GPU, which waits for memory, bfloat16 where matmuls are (docs/experiments.md)."""
    autocast = device.type == "cuda" and torch.is_autocast_enabled("cuda")
    return torch.bfloat16 if autocast and torch.get_autocast_dtype("cuda") == torch.bfloat16 else torch.float32


class GPT(nn.Module):
    """A decoder-only transformer. `config.vocab_size` must be set; its weights are yet to be drawn or loaded."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        assert config.vocab_size is not None
        self.config = config
        self.token_embedding = Embedding(config.vocab_size, config.d_model)
        self.embedding_scale = config.d_model / math.sqrt(config.reference_width) if config.scale_embeddings else 1.0
        self.position_embedding = None
        self.rotary = None
        if config.position == "learned":
            self.position_embedding = Embedding(config.context_length, config.d_model)
        else:
            self.rotary = RotaryPositions(config.context_length, config.d_head, config.rope_theta)
        self.dropout = Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.final_norm = make_norm(config)
        self.lm_head = Linear(config.d_model, config.vocab_size, bias=False)
        if config.tie_embeddings:
            self.lm_head.weight = self.token_embedding.weight

    def forward(self, token_ids: Tensor, cache: KVCache | None = None) -> Tensor:
        """Logits (B T V) of the token after each of `token_ids` (B T); a cache holds what was read before them."""
        return self.lm_head(self.hidden(token_ids, cache))

    def hidden(self, token_ids: Tensor, cache: KVCache | None = None) -> Tensor:
        """The vectors (B T D) that the output matrix turns into logits."""
        x, rotation = self.embed(token_ids, cache)
        for layer, block in enumerate(self.blocks):
            x = block(x, rotation, cache.layers[layer] if cache else None)
        return self.final_norm(x.float())

    def embed(self, token_ids: Tensor, cache: KVCache | None = None) -> tuple[Tensor, Rotation | None]:
        """The vectors (B T D) that enter the first block, and the rotation of their positions."""
        n_new = token_ids.shape[1]
        assert n_new <= self.config.context_length, "the text is longer than the context"
        positions = cache.positions(n_new) if cache else slice(n_new)
        x = self.token_embedding(token_ids) * self.embedding_scale  # B T D
        if self.position_embedding is not None:
            x = x + self.position_embedding.weight[positions]
        rotation = self.rotary(positions) if self.rotary is not None else None
        return self.dropout(x.to(residual_dtype(x.device))), rotation

    def next_logits(self, token_ids: Tensor, cache: KVCache) -> Tensor:
        """Logits (B V, float32, on the CPU) of what comes after `token_ids` (B T), which join the cache."""
        x = self.hidden(token_ids.to(self.device), cache)
        return self.lm_head(x[:, -1]).float().cpu()

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return self.token_embedding.weight.device

    def batch(self, token_ids: Sequence[int]) -> Tensor:
        """A text as a batch of one (1 T), where the model is."""
        return torch.tensor([list(token_ids)], device=self.device)

    @property
    def layers(self) -> list[Block]:
        """The blocks, by their type."""
        return cast(list[Block], list(self.blocks))

    def n_parameters(self) -> int:
        """Trainable numbers; a tied output matrix counts once."""
        return sum(parameter.numel() for parameter in self.parameters())

    @torch.no_grad()
    def initialise(self, seed: int) -> None:
        """Draw all weights anew; the untrained model's loss is then close to ln(vocab_size).

        gpt2: all are normal with a standard deviation of 0.02, smaller by sqrt(2 n_layers) where they write into the
        residual stream.

        mimetic: matrices have a standard deviation of 0.5/sqrt(inputs), but two: down_proj begins at zero (Zhang 2019),
        and o_proj as the transpose of v_proj (after Trockman 2023, 'Mimetic Initialization'), so that attention begins
        by handing on which tokens it saw: copying is then learned many times sooner. Embeddings have a standard
        deviation of 1/d_model: a tied output then gives the token that was just read a logit of about 1. Positions
        begin as large as the embeddings that they are added to.
        """
        generator = torch.Generator(self.device).manual_seed(seed)
        gpt2 = self.config.initialisation == "gpt2"
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif "norm" in name:
                nn.init.ones_(parameter)
            elif gpt2:
                residual = name.endswith(("o_proj.weight", "down_proj.weight"))
                std = 0.02 / math.sqrt(2 * self.config.n_layers) if residual else 0.02
                nn.init.normal_(parameter, std=std, generator=generator)
            elif name.endswith("down_proj.weight"):
                nn.init.zeros_(parameter)
            elif name.startswith("position_embedding"):
                nn.init.normal_(parameter, std=self.embedding_scale / self.config.d_model, generator=generator)
            elif name.startswith(("token_embedding", "lm_head")):
                nn.init.normal_(parameter, std=1 / self.config.d_model, generator=generator)
            else:
                nn.init.normal_(parameter, std=0.5 / math.sqrt(parameter.shape[1]), generator=generator)
        for module in self.modules():
            if isinstance(module, Attention) and not gpt2:
                module.hand_on_values()
