"""`minigpt config`: what a recipe will cost in parameters, operations, memory and, by a short measurement, time."""

import math
from collections import defaultdict
from dataclasses import asdict, dataclass
from typing import Any

from minigpt.config.hyperparameters import Config
from minigpt.errors import UserError
from minigpt.experiments.throughput import measure, training_flops, untrained
from minigpt.hardware.memory import memory_by_use
from minigpt.model.gpt import GPT
from minigpt.tokenizers import check_kind
from minigpt.training.budget import tokens_per_step

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
FORWARD = 1 / 3
"""Share of a pass forward and backward that goes forward, and is what an evaluation takes."""


@dataclass(frozen=True)
class Plan:
    """Costs of a whole run; flops count a multiply-add as two. `seconds_per_step` has its share of the evaluations."""

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
    bits_per_byte: float | None = None
    """Of the validation text at the end, where that can be told."""

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
        how = ", compiled" if self.compiled else ""
        lines.append(
            f"on {self.device}{how}: {self.seconds_per_step:.3g} s per step, measured; "
            f"about {self.steps:,} steps, {self.tokens:,} tokens, {self.seconds / 60:.1f} minutes"
        )
        if self.bits_per_byte:
            nats = self.bits_per_byte * math.log(2)
            lines.append(f"about {self.bits_per_byte:.2f} bits ({nats:.2f} nats) per byte of validation text")
        return "\n".join(f"# {line}" for line in lines)


def plan(config: Config) -> Plan:
    """Work out and measure the costs of a recipe; takes some seconds, and up to thirty more to compile it at first.

    UserError where the recipe has no end, as that of an imported run.
    """
    if config.training.max_steps is None and config.training.max_minutes is None:
        raise UserError("training.max_steps = null: how long will it take? set it or training.max_minutes")
    if config.training.init_from is None:
        check_kind(config.tokenizer.kind)
    engine, model = untrained(config, expected_vocab_size(config))
    parameters = parameters_by_part(model)
    training = config.training
    step_tokens = tokens_per_step(config)
    measured = measure(config, model, engine, MEASURED_SECONDS)
    memory = memory_by_use(config, model.config, sum(parameters.values()), training.batch_size, engine.device)
    evaluation = measured.eager_seconds_per_step / step_tokens * FORWARD * training.evaluation_tokens
    seconds_per_step = measured.seconds_per_step + evaluation / training.evaluate_every
    limits = [training.max_steps or math.inf, 60 * (training.max_minutes or math.inf) / seconds_per_step]
    steps = max(1, int(min(limits)))
    per_token = training_flops(model.config, model)
    return Plan(
        parameters,
        per_token,
        per_token * step_tokens,
        memory | {"activations": measured.activation_bytes},
        engine.describe(),
        measured.compiled,
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
