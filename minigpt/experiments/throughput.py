"""How fast a recipe trains on this machine, measured on real steps."""

import time
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from minigpt.config.hyperparameters import Config, ModelConfig
from minigpt.data.progress import say
from minigpt.errors import warn
from minigpt.hardware.compiler import COMPILED, Compiler, wants_compilation
from minigpt.hardware.device import Engine, synchronise
from minigpt.hardware.memory import check_memory
from minigpt.hardware.precision import choose_engine
from minigpt.model.gpt import GPT
from minigpt.optimizers import make_optimizers
from minigpt.training.budget import tokens_per_step
from minigpt.training.loss import TrainingLoss

HELD_UP, WORSE = 0.1, 3
"""Seconds of a row from which on threads may be waiting; how much slower than one alone they are then."""
LEAST_RATE = 2e10
"""Operations per second; a first step that comes to fewer was held up by something else."""


@dataclass(frozen=True)
class Throughput:
    """What was measured."""

    seconds_per_step: float
    eager_seconds_per_step: float
    """Without compilation, and without the update: what evaluations are told from."""
    compiled: bool
    activation_bytes: int
    """That the forward pass of a micro-batch keeps for the backward one."""


def untrained(config: Config, vocab_size: int) -> tuple[Engine, GPT]:
    """The recipe's model, where it is to be trained; UserError where there is no memory for that."""
    shape = config.model.model_copy(update={"vocab_size": vocab_size})
    engine = choose_engine(config.run)
    check_memory(config, shape, engine.device)
    model = GPT(shape)
    model.initialise(config.run.seed)
    return engine, model.to(engine.device).train()


def measure(config: Config, model: GPT, engine: Engine, seconds: float) -> Throughput:
    """Time steps as the recipe makes them, compiled ones where it compiles, for about so many seconds."""
    steps = Steps(config, model, engine, seconds / 5)
    activation_bytes = steps.activation_bytes()
    compiled = wants_compilation(config, config.training.batch_size, engine)
    passes, update = eager = steps.time(seconds / 5 if compiled else seconds)
    if compiled:
        compiled = steps.compile()
        passes, update = steps.time(seconds)
    return Throughput(passes + update, eager[0], compiled, activation_bytes)


def training_rate(config: Config, vocab_size: int, seconds: float) -> float:
    """Operations per second that training by a recipe comes to here, from uncompiled steps of about so many seconds."""
    engine, model = untrained(config, vocab_size)
    seconds_per_step = sum(Steps(config, model, engine, seconds / 5).time(seconds))
    compiled = COMPILED if wants_compilation(config, config.training.batch_size, engine) else 1
    return training_flops(model.config, model) * tokens_per_step(config) / (seconds_per_step * compiled)


def training_flops(shape: ModelConfig, model: GPT) -> int:
    """Operations per token, forward and backward: 6 per weight of a matmul, and attention (Chowdhery 2022)."""
    weights = sum(p.numel() for name, p in model.named_parameters() if "blocks." in name and p.ndim == 2)
    weights += shape.d_model * (shape.vocab_size or 0)
    return 6 * weights + 12 * shape.n_layers * shape.n_heads * shape.d_head * shape.context_length


class Steps:
    """Training steps on made-up tokens, on as large a part of the micro-batch as takes about `seconds`.

    On all of it on a GPU, whose time does not grow with the rows.
    """

    def __init__(self, config: Config, model: GPT, engine: Engine, seconds: float) -> None:
        self.training, self.model, self.engine = config.training, model, engine
        self.optimizers = make_optimizers(model, config, engine.dtype)
        self.loss = TrainingLoss(model, engine.dtype, compiled=False)
        self.n_rows = 1
        self.step()  # warms up
        at_once = engine.device.type != "cpu"
        self._spare_threads()
        self.one_row: float | None = self._medians(0 if at_once else seconds / 5)[0]
        """Seconds of the passes of one row, by which to tell what each more costs; None where that is not known."""
        cost = min(self.one_row, training_flops(model.config, model) * model.config.context_length / LEAST_RATE)
        fitting = self.training.batch_size if at_once else max(2, int(seconds / cost))
        self.n_rows = min(self.training.batch_size, fitting)

    def _spare_threads(self) -> None:
        """Go on with one thread where several wait for each other, because other programs keep the processor busy."""
        n_threads = torch.get_num_threads()
        if self.engine.device.type != "cpu" or n_threads == 1 or self._medians(0)[0] < HELD_UP:
            return
        torch.set_num_threads(1)
        alone = self._medians(0)[0]
        torch.set_num_threads(n_threads)
        if (together := self._medians(0)[0]) > WORSE * alone:
            torch.set_num_threads(1)
            warn(f"this machine is busy: one thread alone is {together / alone:.0f} times as fast as {n_threads}")

    def step(self) -> tuple[float, float]:
        """Seconds of the passes and of the update."""
        shape = (self.n_rows, self.model.config.context_length)
        tokens = torch.randint(self.model.lm_head.out_features, shape, device=self.engine.device)
        begin = time.perf_counter()
        with self.engine.autocast():
            loss = self.loss(tokens, tokens)
        loss.backward()
        synchronise(self.engine.device)
        middle = time.perf_counter()
        self.optimizers.step(0.0)
        synchronise(self.engine.device)
        return middle - begin, time.perf_counter() - middle

    def time(self, seconds: float) -> tuple[float, float]:
        """Median seconds of all passes of a whole step and of its update, from steps that take so many seconds."""
        self.step()  # the first of so many rows fetches their memory
        passes, update = self._medians(seconds)
        if self.one_row is None or self.n_rows == 1:
            passes *= self._parts
        else:  # calls, which take as long for any number of rows, are at most half of it
            each = max((passes - self.one_row) / (self.n_rows - 1), passes / self.n_rows / 2)
            passes += each * (self.training.batch_size - self.n_rows)
        return passes * self.training.gradient_accumulation_steps, update

    def _medians(self, seconds: float) -> tuple[float, float]:
        """Of the seconds of steps, which are made for so many."""
        times, deadline = [self.step()], time.perf_counter() + seconds
        while time.perf_counter() < deadline:
            times.append(self.step())
        passes, updates = map(median, zip(*times, strict=True))
        return passes, updates

    def activation_bytes(self) -> int:
        """Bytes that the forward pass of a micro-batch keeps for the backward one."""
        kept: dict[int, int] = {}  # of each piece of memory that does not belong to the model

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with saved_tensors_hooks(keep, lambda tensor: tensor):
            self.step()
        for parameter in self.model.parameters():
            kept.pop(parameter.untyped_storage().data_ptr(), None)
        return int(sum(kept.values()) * self._parts)

    def compile(self) -> bool:
        """Compile the steps that follow, as training would; whether that was possible."""
        compiled = Compiler(self.model.config, self.n_rows, self.engine).compile(self.model, say)
        if compiled:
            self.one_row = None
        self.loss = TrainingLoss(self.model, self.engine.dtype, compiled)
        for _ in range(2):
            self.step()
        return compiled

    @property
    def _parts(self) -> float:
        """Into how many parts of `n_rows` a micro-batch is cut."""
        return self.training.batch_size / self.n_rows
