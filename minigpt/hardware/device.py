"""The device that a model is on, and how it works there."""

import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from minigpt.config.hyperparameters import DEVICES
from minigpt.errors import UserError
from minigpt.hardware.memory import keep_freed_memory

Precision = Literal["float32", "bfloat16", "float16"]
SMALL = 20_000_000
"""Parameters of a model of whose operations a single thread has done most before others have come."""

TYPICAL_RATE = {"cpu": 5e10, "mps": 1e12, "cuda": 5e13}
"""Operations per second that training may come to on a kind of device, where the model is large enough to fill it."""


def choose_device(name: str, local_rank: int = 0, asked: str = "run.device =") -> torch.device:
    """The device of that name, `asked` for by some key; auto takes CUDA, then MPS, then the CPU.

    UserError where it is not there.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if not re.fullmatch(DEVICES, name):
        raise UserError(f"{asked} {name}: must be auto, cpu, mps, cuda or cuda:N")
    device = torch.device(name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise UserError(f"{asked} {name}: PyTorch sees no CUDA GPU here; use auto or cpu")
        device = device if device.index is not None else torch.device("cuda", local_rank)
        if device.index >= torch.cuda.device_count():
            raise UserError(f"{asked} {device}: this machine has {torch.cuda.device_count()} GPUs, counted from 0")
        torch.cuda.set_device(device)
    if device.type == "cpu":
        keep_freed_memory()
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError(f"{asked} mps: PyTorch sees no Apple GPU here; use auto or cpu")
    return device


def synchronise(device: torch.device) -> None:
    """Wait until the device has done all that it was told to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def spare_threads(n_parameters: int) -> None:
    """Work with a small model by one thread, which is as fast, and eight times as fast on a busy CPU."""
    if n_parameters <= SMALL:
        torch.set_num_threads(1)


@dataclass(frozen=True)
class Engine:
    """A device with the precision of its matmuls."""

    device: torch.device
    precision: Precision

    @property
    def dtype(self) -> torch.dtype:
        """Of matmuls."""
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[self.precision]

    def autocast(self, cache: bool = True) -> AbstractContextManager[object]:
        """Matmuls in `dtype`, everything else in float32; `cache` keeps the weights in `dtype` to the end of it."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(self.device.type, self.dtype, cache_enabled=cache)

    def put(self, tensor: Tensor) -> Tensor:
        """The tensor on the device, without waiting for the copy where the hardware can."""
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)

    def seed(self, seed: int) -> None:
        """Seed the random numbers of this device; those of every device at once take torch fifty times as long."""
        (torch.default_generator if self.device.type == "cpu" else torch).manual_seed(seed)

    def describe(self) -> str:
        """For people: which hardware, how many threads, which precision."""
        if self.device.type == "cuda":
            name = torch.cuda.get_device_name(self.device)
        else:
            name = f"CPU, {torch.get_num_threads()} threads" if self.device.type == "cpu" else "Apple GPU (MPS)"
        return f"{name}, {self.precision}"
