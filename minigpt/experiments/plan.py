"""`minigpt config`: what a recipe will cost in parameters, operations, memory and, by a short measurement, time."""

import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from minigpt.config.hyperparameters import Config, ModelConfig
from minigpt.hardware.compiler import wants_compilation
from minigpt.hardware.device import Engine, choose_device, synchronise
from minigpt.hardware.memory import check_memory, memory_by_use
from minigpt.hardware.precision import choose_precision
from minigpt.model.gpt import GPT
from minigpt.optimizers import make_optimizers
from minigpt.tokenizers import check_kind
from minigpt.training.budget import tokens_per_step
from minigpt.training.loss import TrainingLoss

VOCABULARIES = {
    "byte": 257,
    "gpt2": 50_257,
    "r50k_base": 50_257,
    "p50k_base": 50_281,
    "p50k_edit": 50_284,
    "cl100k_base": 100_277,
    "o200k_base": 200_019,
    "o200k_harmony": 201_088,
}
CHARACTERS = 100
"""An alphabet's usual size; the real one is known when the text was read."""
MEASURED_SECONDS = 5.0
COMPILED = 0.6
"""Time of a compiled step as a share of that of one that is not, on a CPU (docs/experiments.md, a plan)."""


@dataclass(frozen=True)
class Plan:
    """Costs of a whole run; flops count a multiply-add as two.

    `seconds_per_step` is measured without compilation and, where the recipe will be compiled, multiplied by `COMPILED`.
    """

    parameters: dict[str, int]
    flops_per_token: int
    flops_per_step: int
    memory_bytes: dict[str, int]
    device: str
    compiled: bool
    seconds_per_step: float
    steps: int
    tokens: int
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def describe(self) -> str:
        """For people, as comments under the YAML."""
        total = sum(self.parameters.values())
        lines = [f"{total:,} parameters"]
        lines += [f"  {name:<16}{count:>14,}{count / total:>8.1%}" for name, count in self.parameters.items()]
        lines.append(
            f"{self.flops_per_token / 1e6:,.1f} million operations per token, {self.flops_per_step / 1e9:,.1f}"
            f" billion per step, {self.flops_per_token * self.tokens:.2e} in all"
        )
        memory = ", ".join(f"{name} {size / 1e6:,.0f}" for name, size in self.memory_bytes.items())
        lines.append(f"about {sum(self.memory_bytes.values()) / 1e6:,.0f} MB of memory ({memory})")
        how = (
            f"compiled, from {self.seconds_per_step / COMPILED:.3g} s measured without" if self.compiled else "measured"
        )
        lines.append(
            f"on {self.device}: {self.seconds_per_step:.3g} s per step ({how}), "
            f"about {self.steps:,} steps, {self.tokens:,} tokens, {self.seconds / 60:.1f} minutes"
        )
        return "\n".join(f"# {line}" for line in lines)


def plan(config: Config) -> Plan:
    """Work out and measure the costs of a recipe; takes a few seconds."""
    check_kind(config.tokenizer.kind)
    engine, model = _model(config)
    parameters = parameters_by_part(model)
    training = config.training
    step_tokens = tokens_per_step(config)
    seconds_per_step, kept_bytes = measure(config, model, engine, MEASURED_SECONDS)
    memory = memory_by_use(config, model.config, sum(parameters.values()), engine.device) | {"activations": kept_bytes}
    compiled = wants_compilation(config)
    seconds_per_step *= COMPILED if compiled else 1
    limits = [training.max_steps or float("inf"), 60 * (training.max_minutes or float("inf")) / seconds_per_step]
    steps = max(1, int(min(limits)))
    per_token = training_flops(model.config, model)
    return Plan(
        parameters,
        per_token,
        per_token * step_tokens,
        memory,
        engine.describe(),
        compiled,
        seconds_per_step,
        steps,
        steps * step_tokens,
        steps * seconds_per_step,
    )


def training_rate(config: Config, seconds: float) -> float:
    """Operations per second that training by a recipe comes to here, measured for about so many seconds."""
    engine, model = _model(config)
    seconds_per_step = measure(config, model, engine, seconds)[0] * (COMPILED if wants_compilation(config) else 1)
    return training_flops(model.config, model) * tokens_per_step(config) / seconds_per_step


def _model(config: Config) -> tuple[Engine, GPT]:
    """The recipe's model, not trained, where it is to be trained; UserError where there is no memory for that."""
    shape = config.model.model_copy(update={"vocab_size": expected_vocab_size(config)})
    device = choose_device(config.run.device)
    check_memory(config, shape, device)
    model = GPT(shape)
    model.initialise(config.run.seed)
    return Engine(device, choose_precision(config.run.precision, device)), model.to(device).train()


def expected_vocab_size(config: Config) -> int:
    """Size of the vocabulary, as far as it is known before the text is read."""
    kind = config.tokenizer.kind
    learned = CHARACTERS if kind == "character" else config.tokenizer.vocab_size
    return config.model.vocab_size or VOCABULARIES.get(kind, learned)


def parameters_by_part(model: GPT) -> dict[str, int]:
    """Number of parameters of the embeddings, of each kind of matrix over all blocks, of norms and output."""
    counts: dict[str, int] = defaultdict(int)
    for name, parameter in model.named_parameters():
        parts = name.split(".")
        part = "norms" if "norm" in name else "biases" if parts[-1] == "bias" else parts[-2]
        counts[part] += parameter.numel()
    return dict(counts)


def training_flops(shape: ModelConfig, model: GPT) -> int:
    """Operations per token, forward and backward: 6 per weight of a matmul, and attention (Chowdhery 2022)."""
    weights = sum(p.numel() for name, p in model.named_parameters() if "blocks." in name and p.ndim == 2)
    weights += shape.d_model * (shape.vocab_size or 0)
    return 6 * weights + 12 * shape.n_layers * shape.n_heads * shape.d_head * shape.context_length


def measure(config: Config, model: GPT, engine: Engine, limit: float) -> tuple[float, int]:
    """Seconds of a training step, and bytes that the forward pass of a micro-batch keeps for the backward one.

    Both from real steps, for `limit` seconds, on as large a part of the micro-batch as lets there be several.
    """
    training, length = config.training, config.model.context_length
    optimizers = make_optimizers(model, config, engine.dtype)
    training_loss = TrainingLoss(model, engine.dtype, compiled=False)
    kept: dict[int, int] = {}  # of each piece of memory that does not belong to the model, its bytes

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    def step(n_rows: int) -> tuple[float, float]:
        tokens = torch.randint(model.lm_head.out_features, (n_rows, length), device=engine.device)
        begin = time.perf_counter()
        with engine.autocast():
            loss = training_loss(tokens, tokens)
        loss.backward()
        synchronise(engine.device)
        middle = time.perf_counter()
        optimizers.step(0.0)
        synchronise(engine.device)
        return middle - begin, time.perf_counter() - middle

    step(1)  # warms up
    n_rows = min(training.batch_size, max(1, int(limit / 5 / step(1)[0])))
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        step(n_rows)
    for parameter in model.parameters():
        kept.pop(parameter.untyped_storage().data_ptr(), None)
    seconds, deadline = [step(n_rows)], time.perf_counter() + limit
    while time.perf_counter() < deadline:
        seconds.append(step(n_rows))
    passes, updates = zip(*seconds, strict=True)
    share = training.batch_size / n_rows
    passing = median(passes) * share * training.gradient_accumulation_steps
    return passing + median(updates), int(sum(kept.values()) * share)
