"""Compilation by `torch.compile`: whether, of what, and when not."""

import hashlib
import os
import tempfile
import threading
import timeit
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import torch
from torch import Tensor, nn

from minigpt.config.hyperparameters import Config, ModelConfig
from minigpt.hardware.device import Engine, synchronise
from minigpt.hardware.instructions import instructions
from minigpt.model.block import Block
from minigpt.model.dropout import Dropout
from minigpt.model.gpt import GPT, residual_dtype
from minigpt.model.position import RotaryPositions

COMPILED = 0.75
"""Time of a compiled step as a share of that of one that is not, where it is not worth measuring."""
COMPILER_TURNS = 9e8
"""Turns of a loop in Python that take as long as the compiler: 14 to 18 seconds on a Zen 5 (docs/experiments.md)."""
MOMENT = 0.1
"""Seconds that a block is tried for, to tell how long a training will take."""
WORTH_RECORDING = 2e13
"""Operations of a pass up to which a GPU waits for the calls."""


def wants_compilation(config: Config, n_rows: int, engine: Engine) -> bool:
    """Whether to compile: as wished, or (auto) where training by micro-batches of `n_rows` surely earns it back."""
    if config.run.compile != "auto":
        return config.run.compile
    minutes, steps = config.training.max_minutes, config.training.max_steps
    least = 1.5 * compiler_seconds() / (1 - COMPILED)
    if minutes is not None and 60 * minutes < least:
        return False
    n_blocks = config.model.n_layers * config.training.gradient_accumulation_steps
    return steps is None or steps * n_blocks * Trial(config.model, engine).seconds(n_rows) >= least


def compiler_seconds() -> float:
    """About as many as the compiler takes on this machine, most of which is Python, and the rest a C++ compiler."""
    turns = min(timeit.repeat("for i in range(1000): i * i", number=20, repeat=9))
    return turns / 20_000 * COMPILER_TURNS


class Trial:
    """A block and a dropout of a model's shapes, tried on made-up vectors."""

    def __init__(self, shape: ModelConfig, engine: Engine) -> None:
        self.shape, self.engine = shape, engine
        self.dropout, self.block = Dropout(shape.dropout), Block(shape).to(engine.device).train()
        for parameter in self.block.parameters():
            nn.init.zeros_(parameter)
        self.rotation = None
        if shape.position == "rope":
            positions = RotaryPositions(shape.context_length, shape.d_head, shape.rope_theta).to(engine.device)
            self.rotation = positions(slice(shape.context_length))

    def step(self, n_rows: int) -> None:
        """Forward and backward."""
        length, width, device = self.shape.context_length, self.shape.d_model, self.engine.device
        x = torch.zeros(n_rows, length, width, device=device, requires_grad=True)
        with self.engine.autocast():
            y = self.block(self.dropout((x * 1.0).to(residual_dtype(device))), self.rotation)
        y.sum().backward()
        synchronise(device)

    def seconds(self, n_rows: int) -> float:
        """Of a block's pass forward and backward, told from one row where all would take longer than a moment."""
        one = self._time(1)
        one = one if one > MOMENT else min(one, self._time(1))  # the first fetches its memory
        return n_rows * one if n_rows * one > MOMENT else self._time(n_rows)

    def _time(self, n_rows: int) -> float:
        return timeit.timeit(lambda: self.step(n_rows), number=1)


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
        trial = Trial(config, engine)
        try:
            trial.dropout.compile()
            trial.block.compile()
            trial.step(batch_size)
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
