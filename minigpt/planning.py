"""`minigpt config`: what a recipe will cost in parameters, operations, memory and, by a short measurement, time."""

import time
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any

import torch

from minigpt.config import Config, ModelConfig
from minigpt.model.gpt import GPT
from minigpt.optimizers import make_optimizers
from minigpt.tokenizers import check_kind
from minigpt.training.devices import Engine, choose_device, choose_precision, synchronise
from minigpt.training.loss import TrainingLoss
from minigpt.training.memory import check_memory, memory_by_use

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
MEASURED_TOKENS = 2048


@dataclass(frozen=True)
class Plan:
    """Costs of a whole run. `seconds_per_step` is measured without compilation; flops count a multiply-add as two."""

    parameters: dict[str, int]
    flops_per_token: int
    flops_per_step: int
    memory_bytes: dict[str, int]
    device: str
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
        lines.append(
            f"on {self.device}: {self.seconds_per_step:.3g} s per step (measured, not compiled), "
            f"about {self.steps:,} steps, {self.tokens:,} tokens, {self.seconds / 60:.1f} minutes"
        )
        return "\n".join(f"# {line}" for line in lines)


def plan(config: Config) -> Plan:
    """Work out and measure the costs of a recipe; takes a few seconds."""
    check_kind(config.tokenizer.kind)
    shape = config.model.model_copy(update={"vocab_size": expected_vocab_size(config)})
    device = choose_device(config.run.device)
    check_memory(config, shape, device)
    model = GPT(shape)
    model.initialise(config.run.seed)
    parameters = parameters_by_part(model)
    training = config.training
    step_tokens = training.batch_size * shape.context_length * training.gradient_accumulation_steps
    engine = Engine(device, choose_precision(config.run.precision, device))
    memory = memory_by_use(config, shape, sum(parameters.values()))
    seconds_per_step = measure_step(config, model.to(device), engine, step_tokens)
    limits = [training.max_steps or float("inf"), 60 * (training.max_minutes or float("inf")) / seconds_per_step]
    steps = max(1, int(min(limits)))
    per_token = training_flops(shape, model)
    return Plan(
        parameters,
        per_token,
        per_token * step_tokens,
        memory,
        engine.describe(),
        seconds_per_step,
        steps,
        steps * step_tokens,
        steps * seconds_per_step,
    )


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
    """Operations per token, forward and backward: 6 per weight of a matrix product, and attention (Chowdhery 2022)."""
    weights = sum(p.numel() for name, p in model.named_parameters() if "blocks." in name and p.ndim == 2)
    weights += shape.d_model * (shape.vocab_size or 0)
    return 6 * weights + 12 * shape.n_layers * shape.n_heads * shape.d_head * shape.context_length


def measure_step(config: Config, model: GPT, engine: Engine, step_tokens: int) -> float:
    """Seconds of one training step, from a real one on a part of the batch."""
    length = config.model.context_length
    rows = max(1, min(config.training.batch_size, MEASURED_TOKENS // length))
    tokens = torch.randint(model.lm_head.out_features, (rows, length), device=engine.device)
    optimizers = make_optimizers(model, config.optimizer, engine.dtype)
    loss = TrainingLoss(model, engine.dtype, compiled=False)
    forward_backward = update = 0.0
    for _ in range(3):  # the first ones warm up
        begin = time.perf_counter()
        with engine.autocast():
            loss(tokens, tokens).backward()
        synchronise(engine.device)
        middle = time.perf_counter()
        optimizers.step(0.0)
        synchronise(engine.device)
        forward_backward, update = middle - begin, time.perf_counter() - middle
    return forward_backward * step_tokens / (rows * length) + update
