"""How much memory training needs, and whether this machine has it; and that it is not fetched anew in every step."""

import ctypes
import gc
import os
import platform

import torch

from minigpt.config.hyperparameters import Config, ModelConfig
from minigpt.errors import UserError
from minigpt.model.gpt import outline

ROUGH = 2
"""The estimate may be so many times too high."""
LOGITS_IN_CACHE = 2**21
"""So many stay in a processor's cache."""
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4
"""Settings of glibc (its malloc.h): free memory that is given back, and memory that is mapped piece by piece."""
BYTES_PER_LOGIT = 10
"""The logit, its probability and its gradient, where they are made one after the other."""


def tokens_at_once(vocab_size: int, d_model: int, device: torch.device) -> int:
    """Tokens whose logits exist at a time, a power of two: what a CPU's cache or an eighth of a GPU's memory holds.

    At least about d_model: each chunk changes a whole gradient of vocab_size x d_model, and should be worth it.
    """
    n_tokens = max(logits_at_once(device) // vocab_size, d_model)
    return 1 << (n_tokens.bit_length() - 1)


def logits_at_once(device: torch.device) -> int:
    """Logits that a device has room for."""
    memory = None if device.type == "cpu" else memory_of(device)
    return LOGITS_IN_CACHE if memory is None else memory // (8 * BYTES_PER_LOGIT)


def memory_by_use(
    config: Config, shape: ModelConfig, n_parameters: int, n_rows: int, device: torch.device
) -> dict[str, int]:
    """Bytes for weights, gradients, optimizer and what a forward pass of so many rows keeps for the backward one."""
    micro_tokens = n_rows * shape.context_length
    hidden = (4 if shape.feed_forward == "swiglu" else 2) * shape.d_ff
    kept = 8 * shape.d_model + 2 * (shape.n_heads + shape.n_kv_heads) * shape.d_head + hidden
    full = config.run.precision == "float32" or (config.run.precision == "auto" and device.type == "cpu")
    bytes_kept = (4 if full else 2) + (1.5 if config.run.compile is not True and shape.norm == "rmsnorm" else 0)
    written_out = device.type == "cpu" and (config.run.compile is not False or config.run.precision != "float32")
    scores = 6 * shape.n_heads * shape.context_length if written_out else 0  # of attention
    copies = 0 if full else 2 * n_parameters  # of the weights
    vocab_size = shape.vocab_size or 1
    n_logits = vocab_size * min(micro_tokens, tokens_at_once(vocab_size, shape.d_model, device))
    return {
        "weights": 4 * n_parameters,
        "gradients": 4 * n_parameters,
        "optimizer": (4 if config.optimizer.name == "muon" else 8) * n_parameters,
        "activations": int(micro_tokens * shape.n_layers * (bytes_kept * kept + scores)) + copies,
        "logits": BYTES_PER_LOGIT * n_logits,
    }


def check_memory(config: Config, shape: ModelConfig, device: torch.device, n_processes: int = 1) -> None:
    """UserError where the device surely has too little memory for training a model of this `shape`."""
    lack = lack_of_memory(config, shape, device, n_processes, ROUGH)
    if lack:
        raise UserError(lack)


def lack_of_memory(
    config: Config, shape: ModelConfig, device: torch.device, n_processes: int = 1, rough: int = 1
) -> str | None:
    """What to tell where training a model of this `shape` needs more than `rough` times the memory of the device.

    Each of `n_processes` has a model of its own and its share of the batch, on a GPU of its own or in the memory of one
    computer.
    """
    n_parameters = outline(shape).n_parameters()
    n_rows, sharing = config.training.batch_size // n_processes, 1 if device.type == "cuda" else n_processes
    needed = sharing * sum(memory_by_use(config, shape, n_parameters, n_rows, device).values())
    there = memory_of(device)
    if there is None or needed <= rough * there:
        return None
    return (
        f"model: its {n_parameters:,} parameters need about {needed / 1e9:,.0f} GB to be trained with batches of "
        f"{sharing * n_rows} x {shape.context_length} tokens, and there are {there / 1e9:,.0f} GB; lower "
        "model.d_model, model.n_layers, model.context_length or training.batch_size"
    )


def collect_garbage() -> None:
    """Look for it from now on, where the command line has not until then; not among what has been made so far."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()


def keep_freed_memory() -> None:
    """Have the C library keep what is freed for what is made next, instead of handing it back to the system.

    A step frees all that the one before it had made. To fetch it again page by page takes a tenth of the time of a
    model of medium size (docs/experiments.md). Only glibc gives large memory back so eagerly.
    """
    if platform.libc_ver()[0] == "glibc":
        library = ctypes.CDLL(None)
        library.mallopt(M_MMAP_MAX, 0)
        library.mallopt(M_TRIM_THRESHOLD, -1)


def memory_of(device: torch.device) -> int | None:
    """Bytes of memory that the device has, or None where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows
        return None
