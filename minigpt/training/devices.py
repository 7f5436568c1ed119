"""Everything that depends on the machine: device, precision, compilation. Nothing else in minigpt asks for it."""

import os
import re
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from minigpt.config.hyperparameters import DEVICES, ModelConfig
from minigpt.errors import UserError
from minigpt.model.block import Block
from minigpt.model.dropout import Dropout
from minigpt.model.gpt import GPT
from minigpt.model.position import RotaryPositions

Precision = Literal["float32", "bfloat16"]


def choose_device(name: str, local_rank: int = 0) -> torch.device:
    """The device that `run.device` names; auto takes CUDA, then MPS, then the CPU. UserError where it is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if not re.fullmatch(DEVICES, name):
        raise UserError(f"run.device = {name}: must be auto, cpu, mps, cuda or cuda:N")
    device = torch.device(name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise UserError(f"run.device = {name}: PyTorch sees no CUDA GPU here; use auto or cpu")
        device = device if device.index is not None else torch.device("cuda", local_rank)
        if device.index is not None and device.index >= torch.cuda.device_count():
            raise UserError(f"run.device = {device}: this machine has {torch.cuda.device_count()} GPUs, counted from 0")
        torch.cuda.set_device(device)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise UserError("run.device = mps: PyTorch sees no Apple GPU here; use auto or cpu")
    return device


def choose_precision(wish: str, device: torch.device) -> Precision:
    """float32 or bfloat16 for matrix products: as wished, or (auto) what is faster here."""
    if wish != "auto":
        return "bfloat16" if wish == "bfloat16" else "float32"
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if device.type == "mps":
        return "float32"
    return "bfloat16" if matmul_rate(device, torch.bfloat16) > 1.2 * matmul_rate(device, torch.float32) else "float32"


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Multiply-adds, counted as two, that the machine makes per second in a product of a small model's size."""
    a, b = torch.randn(2048, 512, device=device).to(dtype), torch.randn(512, 1024, device=device).to(dtype)
    seconds = []
    for _ in range(6):
        begin = time.perf_counter()
        a @ b
        synchronise(device)
        seconds.append(time.perf_counter() - begin)
    return 2 * 2048 * 512 * 1024 / sorted(seconds)[2]


def memory_of(device: torch.device) -> int | None:
    """Bytes of memory that the device has, or None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows
        return None


def synchronise(device: torch.device) -> None:
    """Wait until the device has done all that it was told to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@dataclass(frozen=True)
class Engine:
    """A device with the precision in which it multiplies matrices."""

    device: torch.device
    precision: Precision

    @property
    def dtype(self) -> torch.dtype:
        """Of matrix products."""
        return torch.bfloat16 if self.precision == "bfloat16" else torch.float32

    def autocast(self) -> AbstractContextManager[object]:
        """Matrix products in `dtype`, everything else in float32."""
        return torch.autocast(self.device.type, self.dtype) if self.precision == "bfloat16" else nullcontext()

    def put(self, tensor: Tensor) -> Tensor:
        """The tensor on the device, without waiting for the copy where the hardware can."""
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)

    def describe(self) -> str:
        """For people: which hardware, how many threads, which precision."""
        if self.device.type == "cuda":
            name = torch.cuda.get_device_name(self.device)
        else:
            name = f"CPU, {torch.get_num_threads()} threads" if self.device.type == "cpu" else "Apple GPU (MPS)"
        return f"{name}, {self.precision}"


class Compiler:
    """Compiles a model's blocks and dropout, in the background while the data are prepared: it takes twenty seconds.

    What is compiled are modules of the same shapes as the model's, on a batch as large as the training's; the model's
    own then find their code made.
    """

    def __init__(self, config: ModelConfig, batch_size: int, engine: Engine) -> None:
        self._error: Exception | None = None
        self._trial = threading.Thread(target=self._try, args=(config, batch_size, engine), daemon=True)
        self._trial.start()

    def compile(self, model: GPT, warn: Callable[[str], None]) -> bool:
        """Compile the model's parts in place, one block for all. False, after one warning, if it fails."""
        self._trial.join()
        if self._error is not None:
            reason = (str(self._error).strip() or type(self._error).__name__).splitlines()[0]
            warn(f"torch.compile does not work here, training goes on without it ({reason[:200]})")
            return False
        for module in (model.dropout, *model.blocks):
            module.compile()
        return True

    def _try(self, config: ModelConfig, batch_size: int, engine: Engine) -> None:
        from torch._inductor import config as inductor  # seconds long, and only needed here

        # Whether the compiler knows the processor's vector instructions is not worth six seconds of trying.
        inductor.cpp.vec_isa_ok = True
        dropout, block = Dropout(config.dropout), Block(config).to(engine.device).train()
        rotation = None
        if config.position == "rope":
            positions = RotaryPositions(config.context_length, config.d_head, config.rope_theta).to(engine.device)
            rotation = positions(0, config.context_length)
        x = torch.zeros(batch_size, config.context_length, config.d_model, device=engine.device, requires_grad=True)
        try:
            dropout.compile()
            block.compile()
            with engine.autocast():
                y = block(dropout(x * 1.0), rotation)
            y.sum().backward()
        except (RuntimeError, OSError, ImportError) as error:  # no compiler, no headers, no Triton, ...
            self._error = error


def eager() -> AbstractContextManager[object]:
    """Run compiled modules as plain Python: for evaluation and samples, whose many shapes are not worth compiling."""
    return torch.compiler.set_stance("force_eager")
