"""The precision of matmuls."""

import time
from typing import Literal

import torch

from minigpt.config.hyperparameters import RunConfig
from minigpt.hardware.device import Engine, Precision, choose_device, synchronise
from minigpt.hardware.instructions import has_bfloat16_matmul, instructions


def choose_engine(run: RunConfig, local_rank: int = 0) -> Engine:
    """The device and the precision that a recipe asks for. UserError where the device is not there."""
    device = choose_device(run.device, local_rank)
    return Engine(device, choose_precision(run.precision, device))


def choose_precision(wish: Precision | Literal["auto"], device: torch.device) -> Precision:
    """The precision of matmuls: as wished, or (auto) the fastest here. It is measured only where nothing tells."""
    if wish != "auto":
        return wish
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    if device.type == "cpu" and has_bfloat16_matmul():
        return "bfloat16"
    if device.type == "cpu" and instructions() and "bf16" not in instructions():
        return "float32"
    return "bfloat16" if matmul_rate(device, torch.bfloat16) > 1.2 * matmul_rate(device, torch.float32) else "float32"


def matmul_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Multiply-adds, counted as two, that the machine makes per second in a matmul of a small model's size."""
    a, b = torch.randn(2048, 512, device=device).to(dtype), torch.randn(512, 1024, device=device).to(dtype)
    seconds = []
    for _ in range(6):
        begin = time.perf_counter()
        a @ b
        synchronise(device)
        seconds.append(time.perf_counter() - begin)
    return 2 * 2048 * 512 * 1024 / sorted(seconds)[2]
