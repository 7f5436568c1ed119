"""Dropout whose random bits cost little where they are made one by one."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Dropout(nn.Module):
    """Sets a share `p` of the numbers to zero in training, and makes up for it in the others (Srivastava 2014)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        if x.device.type != "cpu" or not torch.compiler.is_compiling():
            return F.dropout(x, self.p)
        # Compiled for a CPU, torch draws one random number at a time. To draw one for each row and each column, and to
        # hash them where they meet (two rounds of multiplying, Mueller's constant), takes a hundredth of the time.
        rows = torch.randint(-(2**31), 2**31 - 1, (*x.shape[:-1], 1), dtype=torch.int32)
        columns = torch.randint(-(2**31), 2**31 - 1, x.shape[-1:], dtype=torch.int32)
        bits = (rows ^ columns) * 0x45D9F3B
        bits = (bits ^ (bits >> 15)) * 0x45D9F3B
        kept = ((bits >> 8) & 0xFFFFFF) >= round(self.p * 2**24)
        return torch.where(kept, x / (1 - self.p), 0.0)
