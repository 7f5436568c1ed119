"""Compilation by `torch.compile`: whether, of what, and when not."""

import hashlib
import os
import tempfile
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch import Tensor, nn

from minigpt.config.hyperparameters import Config, ModelConfig
from minigpt.hardware.device import Engine
from minigpt.hardware.instructions import instructions
from minigpt.model.block import Block
from minigpt.model.dropout import Dropout
from minigpt.model.gpt import GPT, residual_dtype
from minigpt.model.position import RotaryPositions

WORTH_COMPILING = 90.0
"""Seconds of training from which on compiling (some 20 seconds on a laptop) is earned back."""
WORTH_STEPS = 1000
"""Steps from which on it is, whatever they take."""
WORTH_RECORDING = 2e13
"""Operations of a pass up to which a GPU waits for the calls."""


def wants_compilation(config: Config) -> bool:
    """Whether to compile: as wished, or (auto) where training takes long enough to earn it back."""
    if config.run.compile != "auto":
        return config.run.compile
    minutes, steps = config.training.max_minutes, config.training.max_steps
    enough_time = minutes is None or 60 * minutes >= WORTH_COMPILING
    return enough_time and (steps is None or steps >= WORTH_STEPS)


class Compiler:
    """Compiles a model's blocks and dropout, in the background while the data are prepared: it takes twenty seconds.

    What is compiled are modules of the same shapes as the model's, on a batch as large as the training's; the model's
    own then find their code made.
    """

    def __init__(self, config: ModelConfig, batch_size: int, engine: Engine) -> None:
        self._error: Exception | None = None
        self._trial = threading.Thread(target=self._try, args=(config, batch_size, engine), daemon=True)
        self._trial.start()

    def compile(self, model: GPT, say: Callable[[str], None]) -> bool:
        """Compile the model's parts in place, one block for all. False, after one warning, if it fails."""
        if self._trial.is_alive():
            say("compile  takes half a minute the first time, then seconds; run.compile=false does without")
        self._trial.join()
        if self._error is not None:
            reason = (str(self._error).strip() or type(self._error).__name__).splitlines()[0]
            say(f"torch.compile does not work here, training goes on without it ({reason[:200]})")
            return False
        for module in (model.dropout, *model.blocks):
            module.compile()
        return True

    def _try(self, config: ModelConfig, batch_size: int, engine: Engine) -> None:
        name_cache()
        from torch._inductor import config as inductor  # seconds long, and only needed here

        # Whether the compiler knows the processor's vector instructions is not worth six seconds of trying.
        inductor.cpp.vec_isa_ok = True
        dropout, block = Dropout(config.dropout), Block(config).to(engine.device).train()
        rotation = None
        if config.position == "rope":
            positions = RotaryPositions(config.context_length, config.d_head, config.rope_theta).to(engine.device)
            rotation = positions(slice(config.context_length))
        x = torch.zeros(batch_size, config.context_length, config.d_model, device=engine.device, requires_grad=True)
        try:
            dropout.compile()
            block.compile()
            with engine.autocast():
                y = block(dropout((x * 1.0).to(residual_dtype(engine.device))), rotation)
            y.sum().backward()
        except (RuntimeError, OSError, ImportError) as error:  # no compiler, no headers, no Triton, ...
            self._error = error


def name_cache() -> None:
    """Keep what is compiled for these instructions apart from what was for others, before torch mixes them.

    TORCHINDUCTOR_CACHE_DIR is left as it is where somebody has set it.
    """
    known = hashlib.sha256(f"{os.getuid() if os.name == 'posix' else ''} {sorted(instructions())}".encode())
    folder = Path(tempfile.gettempdir(), f"torchinductor_{known.hexdigest()[:16]}")
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))


def record(loss: nn.Module, batch: tuple[Tensor, Tensor], engine: Engine) -> None:
    """On a CUDA GPU, record a small model's pass forward and backward, to be replayed for batches like this one.

    To call the hundreds of operations takes longer than the GPU needs for them, where they are small.
    """
    n_operations = 6 * batch[0].numel() * sum(parameter.numel() for parameter in loss.parameters())
    if engine.device.type == "cuda" and n_operations < WORTH_RECORDING:
        # Recording takes place on a stream of its own, as it should; torch warns of it.
        getattr(torch.autograd.graph, "set_warn_on_accumulate_grad_stream_mismatch", bool)(False)
        with engine.autocast(cache=False):
            torch.cuda.make_graphed_callables(loss, batch)


def eager() -> AbstractContextManager[object]:
    """Run compiled modules as plain Python: for evaluation and samples, whose many shapes are not worth compiling."""
    return torch.compiler.set_stance("force_eager")
