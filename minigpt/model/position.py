"""Rotary positions: a query and a key turn with their place, so their product knows only the distance (Su 2021)."""

import torch
from torch import Tensor, nn

Positions = slice | Tensor
"""Positions T in the text: a range, or numbers that only the device knows (int64)."""


class Rotation:
    """The turn of T positions: multiplies pairs (i, i + K/2) of each head vector by a complex number of length 1."""

    def __init__(self, cosine: Tensor, sine: Tensor) -> None:
        self.cosine, self.sine = cosine, sine  # T K, the sines of the first half negative

    def __call__(self, heads: Tensor) -> Tensor:  # B H T K -> B H T K
        first, second = heads.chunk(2, -1)
        return (heads * self.cosine + torch.cat((second, first), -1) * self.sine).to(heads.dtype)

    def turn(self, heads: Tensor) -> None:
        """The same in place, in fewer operations: for a single position, where they cost more than the arithmetic."""
        swapped = heads.roll(heads.shape[-1] // 2, -1)
        torch.addcmul(heads * self.cosine, swapped, self.sine, out=heads)


class RotaryPositions(nn.Module):
    """Cosines and sines of every position up to the context length, computed once."""

    cosine: Tensor
    sine: Tensor

    def __init__(self, context_length: int, d_head: int, theta: float) -> None:
        super().__init__()
        frequencies = theta ** (-torch.arange(0, d_head, 2, dtype=torch.float32) / d_head)
        angles = torch.outer(torch.arange(context_length, dtype=torch.float32), frequencies).repeat(1, 2)  # T K
        self.register_buffer("cosine", angles.cos(), persistent=False)
        signs = torch.tensor([-1.0, 1.0]).repeat_interleave(d_head // 2)
        self.register_buffer("sine", angles.sin() * signs, persistent=False)

    def forward(self, positions: Positions) -> Rotation:
        """The rotation of positions."""
        return Rotation(self.cosine[positions], self.sine[positions])
