"""What if a part were missing? Heads, neurons and layers switched off, while the rest of the model works on.

Parts have short names, counted from 1: "2.1" is the first head of the second layer, "2.neurons" all that its
feed-forward adds, "2" the whole layer. What is off adds nothing to the residual stream but its biases.
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor

from minigpt.config.hyperparameters import ModelConfig
from minigpt.errors import UserError
from minigpt.inspection.trace import Array
from minigpt.model.block import Block
from minigpt.model.gpt import GPT
from minigpt.runs import Run
from minigpt.tokenizers.compare import visible

ROWS = 16
"""Variants of the model that read a text at once."""
TOLD = 0.0005
"""Probability from which on a word is worth a line."""


def parts(config: ModelConfig) -> list[str]:
    """Every part of a model of this shape, layer by layer: its heads, its neurons, the whole."""
    kinds = [*(f".{head}" for head in range(1, config.n_heads + 1)), ".neurons", ""]
    return [f"{layer}{kind}" for layer in range(1, config.n_layers + 1) for kind in kinds]


def check_parts(names: Collection[str], config: ModelConfig, asked: str = "command line: --without") -> None:
    """UserError where one of them is no part of such a model."""
    for name in names:
        if name not in parts(config):
            raise UserError(
                f"{asked} {name}: there are layers 1 to {config.n_layers} with heads 1 to {config.n_heads}; "
                "name a head (1.1), a layer's neurons (1.neurons) or a layer (1)"
            )


def describe(part: str) -> str:
    """The name of a part in words."""
    layer, _, inside = part.partition(".")
    name = inside if inside == "neurons" else f"head {inside}"
    return f"layer {layer}, {name}" if inside else f"layer {layer}"


@contextmanager
def without(model: GPT, rows: Sequence[Collection[str]]) -> Iterator[None]:
    """Inside, each row of a batch is read by a model without the parts that stand for it in `rows`."""
    with ExitStack() as switched:
        for layer, block in enumerate(model.blocks, 1):
            assert isinstance(block, Block)
            size, n_heads = block.attention.d_head, block.attention.n_heads
            whole = torch.tensor([str(layer) not in off for off in rows])  # B
            neurons = whole & torch.tensor([f"{layer}.neurons" not in off for off in rows])
            names = [f"{layer}.{head}" for head in range(1, n_heads + 1)]
            heads = whole[:, None] & torch.tensor([[name not in off for name in names] for off in rows])  # B H
            for linear, kept in (
                (block.attention.o_proj, heads.repeat_interleave(size, 1)),
                (block.feed_forward.down_proj, neurons[:, None]),
            ):
                switched.callback(linear.register_forward_pre_hook(_keep(kept[:, None])).remove)
        yield


def _keep(kept: Tensor):  # type: ignore[no-untyped-def]
    """What sets the inputs of a layer (B T D) to 0 where `kept` (B 1 D or B 1 1) says so."""
    return lambda _module, inputs: (inputs[0] * kept.to(inputs[0]),)


@torch.inference_mode()
def logits_without(model: GPT, token_ids: Sequence[int], rows: Sequence[Collection[str]]) -> Array:
    """Logits (N V) after a text, without the parts of each of the N `rows`.

    Up to the first layer that misses something, all read the same.
    """
    found = torch.empty(len(rows), model.lm_head.out_features)
    first = [min((int(part.partition(".")[0]) for part in row), default=model.config.n_layers) for row in rows]
    x, rotation = model.entering(torch.tensor([list(token_ids)], device=model.token_embedding.weight.device))
    for layer, block in enumerate(model.blocks, 1):
        begun = [row for row in range(len(rows)) if first[row] == layer]
        for some in (begun[start : start + ROWS] for start in range(0, len(begun), ROWS)):
            with without(model, [rows[row] for row in some]):
                y = x.expand(len(some), -1, -1)
                for later in model.blocks[layer - 1 :]:
                    y = later(y, rotation)
            found[some] = model.lm_head(model.final_norm(y[:, -1].float())).float().cpu()
        x = block(x, rotation)
    return found.numpy()


def consequences(run: Run, prompt: str, off: Sequence[str]) -> list[str]:
    """For people: how likely the likeliest next words are with and without some parts, the words of both sides."""
    ids = run.tokenizer.encode_prompt(prompt, run.config.sampling.begin_document is True)
    whole, rest = torch.from_numpy(logits_without(run.model, ids, [[], off])).softmax(-1)
    words = dict.fromkeys([*whole.topk(3).indices.tolist(), *rest.topk(3).indices.tolist()])
    told = [word for word in words if max(whole[word], rest[word]) >= TOLD]
    names = {word: visible(run.tokenizer.token_bytes[word]) or "⟨end⟩" for word in told}
    lines = [f"  P({names[word]}) {whole[word]:.1%} → {rest[word]:.1%}" for word in told]
    return [f"without {' and '.join(map(describe, off))}:", *lines]
