"""How well a model will have learned a text: told from how well a small one learns it in some seconds."""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from minigpt.config.hyperparameters import Config
from minigpt.data.batches import Batches, evaluation_windows
from minigpt.data.sources import Piece, Source, open_source
from minigpt.data.tokens import TokenStream, encoded, validation_start
from minigpt.errors import UserError
from minigpt.evaluation.loss import evaluate
from minigpt.experiments.budget import choose
from minigpt.experiments.plan import Plan, plan
from minigpt.experiments.throughput import training_flops
from minigpt.hardware.device import Engine, spare_threads
from minigpt.hardware.precision import choose_engine
from minigpt.model.gpt import GPT
from minigpt.optimizers import learning_rate_factor, make_optimizers
from minigpt.tokenizers import Tokenizer, build_tokenizer
from minigpt.training.initial import find_initial
from minigpt.training.loss import TrainingLoss

SHAPE = {"n_layers": 2, "n_heads": 2, "n_kv_heads": 2, "d_model": 64, "d_head": 32, "d_ff": 192, "context_length": 64}
ROWS = 16
OPERATIONS = 2e11
"""Of the small model's whole training: four seconds on two laptop cores."""
LEARNED, JUDGED = 2**21, 2**17
"""Characters at a text's beginning that it learns from, and at its end that it is judged by."""
ENOUGH = 500
"""Tokens of either part without which nothing can be told."""
LAW, LAW_OF_PAIRS = (0.128, 0.165), (0.105, 0.0)
"""How fast losses fall with the operations, and how fast that wears off, the latter of long texts in pairs of bytes.

Of these the small model has only begun to learn (docs/experiments.md, 'A forecast')."""
BEARABLE, STRAIN = 20, 0.07
"""Pressure on a short text (`budget.py`) above which they fall less, and how much ('Short texts')."""


def planned(config: Config) -> tuple[Config, Plan]:
    """The recipe, with what it leaves open chosen, and its plan: with a forecast where something was open."""
    initial = find_initial(config)
    if initial or not config.auto:
        config = initial.recipe if initial else config
        return config, plan(config)
    source = open_source(config.data)
    config = choose(config, source)
    costs = plan(config)
    expected = forecast(config, source, costs.flops_per_token * costs.tokens)
    return config, replace(costs, bits_per_byte=expected)


def forecast(config: Config, source: Source, operations: float) -> float | None:
    """Bits per byte of the validation text to which so many operations of training by an open recipe will come.

    None where the text is too short to tell, or there is no tokenizer yet.
    """
    engine = choose_engine(config.run)
    if engine.precision == "float16":  # whose loss would have to be scaled
        engine = replace(engine, precision="float32")
    more = math.log(max(1.0, operations / OPERATIONS))
    tried = trial(config, source, engine)
    if tried is None:
        return None
    reached, n_tokens = tried
    strain = (1 + operations / (6 * n_tokens**2) / BEARABLE) ** STRAIN
    fall, wear = LAW_OF_PAIRS if config.tokenizer.kind == "bpe" and math.isinf(n_tokens) else LAW
    return reached * math.exp(-fall * more / (1 + wear * more)) * strain


def trial(config: Config, source: Source, engine: Engine) -> tuple[float, float] | None:
    """Bits per byte that the small model comes to, by the recipe's tokenizer, optimizer and schedule.

    And how many tokens there are to learn from; of a text that is not read to its end, more than matter.
    """
    beginning, end = parts(source)
    settings = config.tokenizer
    try:
        tokenizer = build_tokenizer(settings.kind, settings.vocab_size, (piece.text for piece in (*beginning, *end)))
    except UserError:  # one of tiktoken's, which has to be fetched first
        return None
    learned, judged = _tokens(beginning, tokenizer), _tokens(end, tokenizer)
    if not end:
        cut = validation_start(learned, config.data.validation_fraction, tokenizer.begin_of_text)
        learned, judged = learned.part(0, cut), learned.part(cut, len(learned))
    if min(len(learned), len(judged)) < ENOUGH:
        return None
    shape = config.model.model_copy(update={**SHAPE, "vocab_size": tokenizer.vocab_size, "dropout": 0.0})
    small = config.model_copy(update={"model": shape})
    model = GPT(shape)
    model.initialise(config.run.seed)
    spare_threads(model.n_parameters())
    model.to(engine.device).train()
    loss, optimizers = TrainingLoss(model, engine.dtype, compiled=False), make_optimizers(model, small, engine.dtype)
    batches = Batches(learned, shape.context_length, ROWS, config.run.seed, tokenizer.begin_of_text)
    n_steps = max(1, round(OPERATIONS / (training_flops(shape, model) * ROWS * shape.context_length)))
    for step in range(n_steps):
        with engine.autocast():
            nats = loss(*(engine.put(ids) for ids in batches.batch(step * ROWS)))
        nats.backward()
        optimizers.step(learning_rate_factor(config.schedule, step, step / n_steps))
    windows = evaluation_windows(judged, shape.context_length, ROWS, tokenizer.begin_of_text)
    with engine.autocast():
        bits = evaluate(model, windows, tokenizer).bits_per_byte
    return bits, len(learned) if sum(len(piece.text) for piece in beginning) < LEARNED else math.inf


def parts(source: Source) -> tuple[list[Piece], list[Piece]]:
    """Pieces at the beginning of a text, and at the end of it or of its validation part; no end where it is short."""
    pieces = source.pieces()
    beginning = list(first(pieces, LEARNED))
    if source.has_validation:
        return beginning, list(first(source.pieces("validation"), JUDGED))
    end = last(pieces, JUDGED)
    return (beginning, end) if sum(len(piece.text) for piece in end) >= JUDGED else ([*beginning, *end], [])


def first(pieces: Iterable[Piece], n_characters: int) -> Iterator[Piece]:
    """As many pieces as make up so many characters, of the last one only what is missing."""
    for piece in pieces:
        yield Piece(piece.text[:n_characters], piece.ends_document)
        n_characters -= len(piece.text)
        if n_characters <= 0:
            return


def last(pieces: Iterable[Piece], n_characters: int) -> list[Piece]:
    """The last pieces, as few as make up so many characters, each cut to them."""
    kept, size = deque[Piece](), 0
    for piece in pieces:
        kept.append(Piece(piece.text[-n_characters:], piece.ends_document))
        size += len(kept[-1].text)
        while size - len(kept[0].text) >= n_characters:
            size -= len(kept.popleft().text)
    return list(kept)


def _tokens(pieces: list[Piece], tokenizer: Tokenizer) -> TokenStream:
    return TokenStream([np.concatenate([np.empty(0, np.uint32), *encoded(pieces, tokenizer)])])
