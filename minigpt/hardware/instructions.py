"""The instructions of the processor."""

import torch


def has_avx512_vnni() -> bool:
    """Whether it multiplies int8 64 at a time."""
    return torch.cpu._is_vnni_supported()


def has_bfloat16_matmul() -> bool:
    """Whether oneDNN has matmuls in bfloat16 for it."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
