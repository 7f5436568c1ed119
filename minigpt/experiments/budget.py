"""Sizes for a text, some minutes and a machine: what a recipe leaves open as `auto`."""

import math
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from minigpt.config.hyperparameters import Config
from minigpt.config.recipe import describe
from minigpt.config.widths import nearest_width
from minigpt.data.sources import Source, open_source
from minigpt.errors import UserError
from minigpt.experiments.plan import VOCABULARIES, expected_vocab_size
from minigpt.experiments.throughput import training_rate
from minigpt.hardware.device import TYPICAL_RATE, choose_device
from minigpt.hardware.memory import lack_of_memory
from minigpt.tokenizers import check_kind
from minigpt.tokenizers.word import WORD

SURVEYED = 2**23
"""Characters of a text whose letters and words are looked at."""
LADDER = (
    (0.9e12, 2, 64, 64, 32),
    (3e12, 4, 64, 128, 16),
    (1.2e13, 4, 96, 128, 16),
    (4.5e13, 5, 128, 256, 4),
    (3e15, 6, 192, 256, 8),
    (5e15, 6, 384, 256, 32),
    (2.5e16, 8, 512, 512, 64),
    (1e18, 12, 768, 1024, 256),
)
"""Operations of a whole training; layers, width, context and rows of a batch that are good with so many."""
PAIRS = (
    (1.5e12, 2, 64, 64, 16),
    (3e12, 2, 80, 64, 32),
    (6e12, 3, 80, 128, 16),
    (1.4e13, 3, 96, 128, 16),
    (2.5e13, 3, 144, 128, 16),
    (1e14, 4, 192, 256, 16),
    (3e14, 5, 192, 256, 16),
    (3e15, 6, 288, 256, 16),
    (5e15, 6, 576, 256, 32),
    (2.5e16, 8, 768, 512, 64),
    (1e18, 12, 1152, 1024, 256),
)
"""The same where tokens are pairs of bytes: in fewer layers, as telling so many apart takes operations too."""
DOCUMENTS = (
    (1.5e12, 1, 96, 256, 4),
    (4e12, 1, 96, 256, 8),
    (8e12, 2, 112, 256, 8),
    (4e13, 3, 144, 256, 8),
    (3e15, 3, 288, 256, 8),
    (5e15, 3, 576, 256, 32),
    (2.5e16, 4, 768, 512, 64),
    (1e18, 6, 1152, 1024, 256),
)
"""The same where short documents are seen whole: few layers learn sooner to copy from their beginning."""
RUNG = ("model.n_layers", "model.d_model", "model.context_length", "training.batch_size")
SIZES = ("tokenizer.kind", "tokenizer.vocab_size", "model.dropout", "optimizer.residual_fraction", *RUNG)
MEASURED_SECONDS = 0.2
"""For which steps of a model are tried."""
FEW_WORDS = 4096
"""Tokens of a vocabulary of whole words, where a text has no more of them."""
RARE = 0.001
"""Share of the words of such a text that come only once, at most."""
SHORT_DOCUMENT = 256
"""Tokens of a context that holds a short document whole."""
DROPOUT = ((30, 0.1), (60, 0.2), (150, 0.3))
"""From which pressure on, weights times readings for each token of a text, so much of it is good."""
MOST_PRESSURE = 350
"""Under which a text is learned by heart all the same, and training had better end."""
FEW_EPOCHS, FEW_STEPS = 6, 300
"""Of a text, by which no model learns it by heart; of a training, by which it has hardly begun."""
SHORT = 5_000_000
"""Characters of a text up to which it is learned by characters."""


@dataclass(frozen=True)
class Text:
    """What a text is like."""

    n_characters: int
    n_letters: int
    """Different characters."""
    n_words: int
    """Different words that come more than once."""
    rare: float
    """Share of all words that come only once."""
    document: float
    """Mean characters of a document."""

    def describe(self) -> str:
        """For people."""
        return f"{self.n_characters:,} characters, {self.n_letters:,} different, {self.document:,.0f} in a document"


def choose(config: Config, source: Source | None = None, n_processes: int = 1) -> Config:
    """The recipe with a value wherever it says `auto`, for its source, which may be open already; says which.

    `n_processes` like this one train together. UserError where there are no minutes to fill.
    """
    if not config.auto:
        return config
    minutes = config.training.max_minutes
    if minutes is None:
        keys = ", ".join(config.auto)
        raise UserError(f"{keys} = auto: is chosen for some minutes; set training.max_minutes, or a value for each")
    check_kind(config.tokenizer.kind)
    text = survey(source or open_source(config.data))
    given = {key: config.value(key) for key in SIZES if key not in config.auto}
    device = choose_device(config.run.device)

    def at(operations: float, smaller: int = 1) -> Config:
        values = sizes(text, operations, given)
        values["model.d_model"] = nearest_width(values["model.d_model"], config.asked.get("model", {}))
        values["training.batch_size"] = n_processes * math.ceil(values["training.batch_size"] / smaller / n_processes)
        step = config.training.gradient_accumulation_steps * values["training.batch_size"] * values[RUNG[2]]
        most = math.ceil(most_epochs(text, values) * n_tokens(text, values) / step)
        values["training.max_steps"] = most if may_overfit(text, operations, values) else None
        try:
            chosen = config.chosen({key: values[key] for key in config.auto})
        except ValidationError as error:
            raise UserError(describe(error, Path("with what auto chose"))) from None
        shape = chosen.model.model_copy(update={"vocab_size": expected_vocab_size(chosen)})
        lack = lack_of_memory(chosen, shape, device, n_processes)
        if not lack:
            return chosen
        if "training.batch_size" in given or values["training.batch_size"] == n_processes:
            raise UserError(lack)
        return at(operations, 2 * smaller)

    rate = n_processes * TYPICAL_RATE[device.type]
    for _ in range(2):  # how fast a machine is depends on the size of the model
        guess = at(rate * 60 * minutes)
        own_rows = {"batch_size": max(1, guess.training.batch_size // n_processes)}
        own = guess.model_copy(update={"training": guess.training.model_copy(update=own_rows)})
        rate = n_processes * training_rate(own, expected_vocab_size(own), MEASURED_SECONDS)
    chosen = at(rate * 60 * minutes)
    values = " ".join(f"{key}={chosen.value(key)}" for key in config.auto)
    found = {key: chosen.value(key) for key in SIZES}
    epochs_told = epochs(text, rate * 60 * minutes, found), most_epochs(text, found)
    told, end = (f"{x:,.0f}" if x >= 10 else f"{x:.2g}" for x in epochs_told)
    why = f"{text.describe()}; {minutes:g} min at {rate / 1e9:,.0f} GFLOP/s read it about {told} times"
    why += f", and after {end} it is learned by heart" * may_overfit(text, rate * 60 * minutes, found)
    print(f"chosen   {values}\nwhy      {why}", file=sys.stderr)  # noqa: T201
    return chosen


def survey(source: Source) -> Text:
    """Look at the beginning of a text, and count all of it."""
    letters, words = set[str](), Counter[str]()
    n_characters = n_documents = 0
    for piece in source.pieces():
        if n_characters < SURVEYED:
            letters |= set(piece.text)
            words.update(WORD.findall(piece.text))
        n_characters += len(piece.text)
        n_documents += piece.ends_document
    once = sum(count == 1 for count in words.values())
    rare = once / max(1, words.total())
    return Text(n_characters, len(letters), len(words) - once, rare, n_characters / max(1, n_documents))


def sizes(text: Text, operations: float, given: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
    """Every size for a text and the operations that there is time for, beside those that are given."""
    values = {"tokenizer.kind": tokenizer_kind(text), **given}
    values["tokenizer.vocab_size"] = vocabulary(values["tokenizer.kind"], text, given.get("tokenizer.vocab_size"))
    length_of_text = n_tokens(text, values)
    document = length_of_text * text.document / text.n_characters
    bearable = 3 * MOST_PRESSURE * length_of_text**2  # by a model that is small enough to read it often
    worth = min(operations, bearable)
    n_layers, width, length, rows = rung(PAIRS if values["tokenizer.kind"] == "bpe" else LADDER, worth)
    room = 32 * math.ceil(1.5 * document / 32)  # for most documents
    context = max(length, room) if room <= max(SHORT_DOCUMENT, 2 * length) else length
    context = max(2, min(context, int(length_of_text / 4)))  # some is left to judge by
    context = given.get("model.context_length", context)
    residual = 1.0
    if document < context:
        (n_layers, width, length, rows), residual = rung(DOCUMENTS, worth), 0.1
        rows = max(1, 2 ** round(math.log2(rows * length / context)))  # of about as many tokens
    values = {**dict(zip(RUNG, (n_layers, width, context, rows), strict=True)), **values}
    times = min(epochs(text, operations, values), most_epochs(text, values))
    pressure = times * n_weights(values) / length_of_text if times > FEW_EPOCHS else 0
    return {
        "model.dropout": max((share for least, share in DROPOUT if pressure >= least), default=0.0),
        "optimizer.residual_fraction": residual,
        **values,
    }


def epochs(text: Text, operations: float, values: Mapping[str, Any]) -> float:
    """How often so many operations of a model of some sizes read a text."""
    return operations / (6 * n_weights(values) * n_tokens(text, values))


def most_epochs(text: Text, values: Mapping[str, Any]) -> float:
    """How often a model of some sizes may read a text before it has learned it by heart."""
    n, step = n_tokens(text, values), values["training.batch_size"] * values["model.context_length"]
    return max(FEW_STEPS * step / n, MOST_PRESSURE * n / n_weights(values))


def may_overfit(text: Text, operations: float, values: Mapping[str, Any]) -> bool:
    """Whether there may be time for that, on a machine that may be twice as fast as when it was tried."""
    return 2 * epochs(text, operations, values) > most_epochs(text, values)


def n_weights(values: Mapping[str, Any]) -> int:
    """Of a model of some sizes, those of matrices."""
    width: int = values["model.d_model"]
    return width * (values["model.n_layers"] * 12 * width + values["tokenizer.vocab_size"])


def n_tokens(text: Text, values: Mapping[str, Any]) -> float:
    """Of a text, by the sizes' tokenizer."""
    return text.n_characters / characters_per_token(values["tokenizer.kind"], values["tokenizer.vocab_size"])


def rung(ladder: tuple[tuple[float, int, int, int, int], ...], operations: float) -> tuple[int, int, int, int]:
    """Layers, width, context and rows of the nearest rung of a ladder."""
    return min(ladder, key=lambda rung: abs(math.log(rung[0] / operations)))[1:]


def tokenizer_kind(text: Text) -> str:
    """Words where a text has few of them, characters where it is short, and else pairs of bytes."""
    if text.rare < RARE and text.n_words < FEW_WORDS:
        return "word"
    return "character" if text.n_letters <= 256 and text.n_characters < SHORT else "bpe"


def vocabulary(kind: str, text: Text, wanted: int | None = None) -> int:
    """Tokens of a tokenizer of a text; `wanted` of one that learns as many as it is told to."""
    match kind:
        case "character":
            return max(257, text.n_letters + 1)
        case "word":
            return wanted or min(text.n_words, 2 * FEW_WORDS) + 257
        case "bpe":
            return wanted or (1024 if text.n_characters < 4 * SHORT else 4096)
    return VOCABULARIES.get(kind, 50_257)


def characters_per_token(kind: str, vocab_size: int) -> float:
    """As in most texts."""
    return {"character": 1.0, "byte": 1.0, "word": 4.5}.get(kind, 0.35 * math.log2(vocab_size) - 1)
