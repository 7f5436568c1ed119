"""What if a part did something else? Heads, neurons and layers are changed while the rest of the model works on.

Parts have short names: "2.1" is the first head of the second layer, "2.neuron17" a neuron (they count from 0),
"2.neurons" all that its feed-forward adds, "2" the whole layer. A part may be off, and then adds nothing but its
biases; do what it does on average (its name with "=mean"); or do what it did in another text (`patching.py`).
"""

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import Tensor, nn

from minigpt.config.hyperparameters import ModelConfig
from minigpt.errors import UserError
from minigpt.inspection.habits import read_habits
from minigpt.inspection.own_text import own_texts
from minigpt.inspection.trace import Array
from minigpt.model.gpt import GPT
from minigpt.runs import Run
from minigpt.storage.checksums import DamageError
from minigpt.tokenizers.compare import label

ROWS = 16
"""Variants of the model that read a text at once."""
AFFORDABLE = 2e12
"""Operations that trying changes in turn may take: some seconds."""
TOLD = 0.0005
"""Probability from which on a word is worth a line."""
MEAN = "=mean"
"""Behind a part's name: it does what it does on average."""

Work = list[tuple[Tensor, Tensor]]
"""Of each layer, what its heads (T HK) and its neurons (T F) hand to the matrices that write it into the stream."""


@dataclass(frozen=True)
class Change:
    """A part whose work is replaced."""

    part: str
    instead: Work | None = None
    """By what: of one position, or of as many as are replaced. None: by zeros."""
    position: int | None = None
    """Where; None: everywhere."""


def parts(config: ModelConfig) -> list[str]:
    """Every part of a model of this shape but the single neurons, layer by layer: its heads, its neurons, the whole."""
    kinds = [*(f".{head}" for head in range(1, config.n_heads + 1)), ".neurons", ""]
    return [f"{layer}{kind}" for layer in range(1, config.n_layers + 1) for kind in kinds]


def check_parts(names: Collection[str], config: ModelConfig) -> None:
    """UserError where one of them is no part of such a model."""
    known = {*parts(config), *(f"{i}.neuron{j}" for i in range(1, config.n_layers + 1) for j in range(config.d_ff))}
    for name in names:
        if name.removesuffix(MEAN) not in known:
            raise UserError(
                f"command line: --without {name}: there are layers 1 to {config.n_layers} with heads 1 to "
                f"{config.n_heads} and neurons 0 to {config.d_ff - 1}; name a head (1.1), a neuron (1.neuron0), a "
                f"layer's neurons (1.neurons) or a layer (1), with {MEAN} behind it for what it does on average"
            )


def describe(name: str) -> str:
    """The name of a part in words."""
    layer, _, inside = name.removesuffix(MEAN).partition(".")
    inside = inside.replace("neuron", "neuron ") if inside[6:].isdigit() else inside
    named = f"layer {layer}" + (f", {'head ' * inside.isdigit()}{inside}" if inside else "")
    return named + (" (its mean instead)" if name.endswith(MEAN) else "")


def layer_of(part: str) -> int:
    """The layer that a part is in, from 1."""
    return int(part.removesuffix(MEAN).partition(".")[0])


def _own(part: str, config: ModelConfig) -> dict[int, slice]:
    """What is a part's own of the numbers that its layer's heads (0) and neurons (1) make."""
    inside = part.partition(".")[2]
    if inside in ("", "neurons"):
        return {1: slice(None)} if inside else {0: slice(None), 1: slice(None)}
    if inside.startswith("neuron"):
        return {1: slice(neuron := int(inside[6:]), neuron + 1)}
    return {0: slice((int(inside) - 1) * config.d_head, int(inside) * config.d_head)}


def _writers(model: GPT) -> list[tuple[nn.Linear, nn.Linear]]:
    """The two matrices of each layer that write into the residual stream."""
    return [(block.attention.o_proj, block.feed_forward.down_proj) for block in model.layers]


@torch.inference_mode()
def _work(model: GPT, token_ids: Tensor) -> Work:
    """What all parts do while the model reads some texts (B T)."""
    seen: dict[nn.Module, Tensor] = {}
    with ExitStack() as hooks:
        for linear in (linear for pair in _writers(model) for linear in pair):
            hooks.callback(linear.register_forward_pre_hook(lambda m, x: seen.update({m: x[0]})).remove)
        model.hidden(token_ids)
    return [(seen[heads], seen[neurons]) for heads, neurons in _writers(model)]


def work(model: GPT, token_ids: Sequence[int]) -> Work:
    """What all parts do while the model reads a text."""
    return [(heads[0], neurons[0]) for heads, neurons in _work(model, model.batch(token_ids))]


def mean_work(model: GPT, texts: Sequence[Sequence[int]]) -> Work:
    """What all parts do on average (T is 1), over all tokens of some texts but the first of each."""
    length = max(map(len, texts))
    told = torch.tensor([[0 < i < len(text) for i in range(length)] for text in texts])
    filled = [model.batch([*text, *[0] * (length - len(text))]) for text in texts]  # what comes later changes nothing
    done = _work(model, torch.cat(filled))
    return [(heads[told].mean(0, keepdim=True), neurons[told].mean(0, keepdim=True)) for heads, neurons in done]


@lru_cache(maxsize=1)  # a live page asks for it at every key
def usual_work(run: Run) -> tuple[Work, str]:
    """What all parts do on average (T is 1), and for people over what.

    That is the validation text where the run keeps habits of this checkpoint, else texts of its own.
    """
    device, habits = run.model.device, None
    with suppress(DamageError):
        habits = read_habits(run)
    if habits is not None and habits.step == run.step:
        means = [
            (torch.tensor([heads], device=device), torch.tensor([ns], device=device)) for heads, ns in habits.means
        ]
        return means, f"{habits.tokens:,} tokens of the validation text"
    texts = own_texts(run)
    n_tokens = sum(len(text) - 1 for text in texts)
    return mean_work(run.model, texts), f"{n_tokens} tokens in {len(texts)} texts that this model wrote itself"


@contextmanager
def changed(model: GPT, rows: Sequence[Collection[Change]]) -> Iterator[None]:
    """Inside, each row of a batch is read by a model with the changes that stand for it in `rows`."""
    writers, replaced = _writers(model), dict[nn.Linear, list[tuple[int, slice, slice, Tensor | float]]]()
    for row, changes in enumerate(rows):
        for change in changes:
            layer = layer_of(change.part) - 1
            where = slice(None) if change.position is None else slice(change.position, change.position + 1)
            for kind, own in _own(change.part, model.config).items():
                instead = 0.0 if change.instead is None else change.instead[layer][kind][:, own]
                replaced.setdefault(writers[layer][kind], []).append((row, where, own, instead))
    with ExitStack() as hooks:
        for linear, places in replaced.items():
            hooks.callback(linear.register_forward_pre_hook(partial(_replace, places)).remove)
        yield


def _replace(
    places: list[tuple[int, slice, slice, Tensor | float]], _module: nn.Module, inputs: tuple[Tensor]
) -> tuple[Tensor]:
    x = inputs[0].clone()  # B T and what the layer's heads or neurons have made
    for row, where, own, instead in places:
        x[row, where, own] = instead
    return (x,)


@torch.inference_mode()
def changed_logits(model: GPT, token_ids: Sequence[int], rows: Sequence[Collection[Change]]) -> Array:
    """Logits (N V) after a text, with the changes of each of the N `rows`.

    Up to the first layer in which something changes, all read the same.
    """
    found = torch.empty(len(rows), model.lm_head.out_features)
    first = [min((layer_of(change.part) for change in row), default=model.config.n_layers) for row in rows]
    x, rotation = model.embed(model.batch(token_ids))
    for layer, block in enumerate(model.blocks, 1):
        begun = [row for row in range(len(rows)) if first[row] == layer]
        for some in (begun[start : start + ROWS] for start in range(0, len(begun), ROWS)):
            with changed(model, [rows[row] for row in some]):
                y = x.expand(len(some), -1, -1)
                for later in model.blocks[layer - 1 :]:
                    y = later(y, rotation)
            found[some] = model.lm_head(model.final_norm(y[:, -1].float())).float().cpu()
        x = block(x, rotation)
    return found.numpy()


def affordable(model: GPT, n_rows: int, n_tokens: int) -> bool:
    """Whether so many variants of a model may each read so long a text."""
    return n_rows * n_tokens * 2 * model.n_parameters() <= AFFORDABLE


def named_changes(run: Run, rows: Sequence[Sequence[str]]) -> list[list[Change]]:
    """Parts by their names: each is off or, with "=mean", does what it does on average."""
    wanted = any(name.endswith(MEAN) for row in rows for name in row)
    means = usual_work(run)[0] if wanted else None
    return [[Change(name.removesuffix(MEAN), means if name.endswith(MEAN) else None) for name in row] for row in rows]


def spelt(run: Run, token: int) -> str:
    """A token as it is shown."""
    return label(run.tokenizer.token_bytes[token])


def percent(share: float) -> str:
    """A probability for people, which is never quite 0 or 1."""
    return "<0.1%" if share < TOLD else ">99.9%" if 1 - TOLD <= share < 1 else f"{share:.1%}"


def consequences(run: Run, prompt: str, names: Sequence[str]) -> list[str]:
    """For people: how likely the likeliest next words are with parts as they are and changed, those of both sides."""
    ids = run.encode_prompt(prompt)
    logits = changed_logits(run.model, ids, named_changes(run, [[], names]))
    whole, rest = torch.from_numpy(logits).softmax(-1)
    words = dict.fromkeys([*whole.topk(3).indices.tolist(), *rest.topk(3).indices.tolist()])
    told = [word for word in words if max(whole[word], rest[word]) >= TOLD]
    lines = [f"  P({spelt(run, word)}) {percent(whole[word])} → {percent(rest[word])}" for word in told]
    over = [f"  (mean: over {usual_work(run)[1]})"] if any(name.endswith(MEAN) for name in names) else []
    return [f"without {' and '.join(map(describe, names))}:", *lines, *over]
