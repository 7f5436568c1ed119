"""The instructions of the processor."""

import torch


def has_avx512_vnni() -> bool:
    """Whether products of int8 are added up 64 at a time (AVX-512 VNNI)."""
    return torch.cpu._is_vnni_supported()


def multiplies_bfloat16() -> bool:
    """Whether oneDNN multiplies matrices in bfloat16 here."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
