"""The precision of matmuls."""

import time

import torch

from minigpt.hardware.device import Precision, synchronise


def choose_precision(wish: str, device: torch.device) -> Precision:
    """float32 or bfloat16 for matmuls: as wished, or (auto) what is faster here."""
    if wish != "auto":
        return "bfloat16" if wish == "bfloat16" else "float32"
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if device.type == "mps":
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
