"""`minigpt evaluate`: a whole text under a run's model, and how close the model came to what is possible."""

import math
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from minigpt.data import stories
from minigpt.data.batches import IGNORED, evaluation_windows
from minigpt.data.progress import bar
from minigpt.data.sources import open_source
from minigpt.data.tokens import TokenStream, encoded, prepare_tokens
from minigpt.errors import UserError
from minigpt.evaluation.loss import TOKENS_AT_ONCE, evaluate
from minigpt.hardware.device import Engine
from minigpt.hardware.precision import choose_precision
from minigpt.runs import Run
from minigpt.tokenizers import Tokenizer


def assess(run: Run, text: str | None = None, stride: int | None = None) -> dict[str, Any]:
    """Loss, perplexity and bits per byte over all of `text`, or of the run's validation text where there is none."""
    context_length = run.config.model.context_length
    if stride is not None and stride > context_length:
        raise UserError(f"command line: --stride {stride}: must be at most the context length, {context_length}")
    tokens = validation_tokens(run, " (or name a text with --text)") if text is None else _encode(text, run)
    batch_size = max(1, TOKENS_AT_ONCE // context_length)
    windows = evaluation_windows(tokens, context_length, batch_size, run.tokenizer.begin_of_text, stride)
    device = run.model.device
    with Engine(device, choose_precision(run.config.run.precision, device)).autocast():
        result = evaluate(run.model, _with_progress(windows, len(tokens) - 1), run.tokenizer)
    if not math.isfinite(result.loss):
        raise UserError(
            f"{run.folder.path}: step {run.step}: the model's loss is {result.loss}, it has diverged; "
            "take an earlier checkpoint with --checkpoint"
        )
    figures = {
        "run": str(run.folder.path),
        "step": run.step,
        "text": str(text or f"validation part of {run.config.data.source}"),
        "tokens": result.tokens,
        "bytes": result.bytes,
        "context_length": context_length,
        "stride": stride or context_length,
        "loss": result.loss,
        "perplexity": result.perplexity,
        "bits_per_byte": result.bits_per_byte,
    }
    entropy = known_entropy(run.config.data.source, tokens, run.tokenizer) if text is None else None
    return figures if entropy is None else figures | {"entropy": entropy, "gap": result.loss / entropy - 1}


def known_entropy(
    source: str | None, tokens: TokenStream, tokenizer: Tokenizer, limit: int = sys.maxsize
) -> float | None:
    """Nats per token that no model can stay below on average, over the whole documents in `limit` tokens and one more.

    Known are the built-in stories, by their own grammar; None for other texts and where the first document is cut.
    """
    ids = tokens[: min(limit, len(tokens)) + 1]
    ends = np.flatnonzero(ids == tokenizer.end_of_text)
    if source != "stories" or not len(ends) or ends[0] != 0:
        return None
    if len(ids) < len(tokens):
        ids = ids[: ends[-1] + 1]
    texts = (tokenizer.decode(part[part != tokenizer.end_of_text].tolist()) for part in np.split(ids, ends))
    nats = -sum(stories.log_probability(text) for text in texts if text)
    return nats / (len(ids) - 1) if nats else None


def validation_tokens(run: Run, remedy: str = "") -> TokenStream:
    """The text that the run did not learn from, prepared now or found from an earlier time."""
    data = run.config.data
    try:
        tokens = prepare_tokens(open_source(data), run.tokenizer, data.validation_fraction, Path(data.directory))
    except UserError as error:
        raise UserError(f"{run.folder.config}: {error}{remedy}") from None
    return tokens.validation


def _encode(text: str, run: Run) -> TokenStream:
    """Another text's tokens, of all that `data.source` can be: of its validation part, if it has one."""
    if not text:
        raise UserError("command line: --text: must not be empty")
    data = run.config.data.model_copy(update={"source": text, "sha256": None, "max_documents": None})
    try:
        source = open_source(data)
        parts = list(encoded(source.pieces("validation" if source.has_validation else "train"), run.tokenizer))
    except UserError as error:
        reason = re.sub(r"; set data\.text_column.*", "; put it there, as in the run's own text", str(error))
        reason = reason.replace("data.source=PATH", "--text PATH").removeprefix(f"data.source = {text}: ")
        raise UserError(reason if reason.startswith(text) else f"command line: --text {text}: {reason}") from None
    if sum(map(len, parts)) < 2:
        raise UserError(f"command line: --text {text}: is too short to evaluate on; it needs at least two tokens")
    return TokenStream([np.concatenate(parts)])


def _with_progress(windows: Iterator[tuple[Tensor, Tensor]], n_tokens: int) -> Iterator[tuple[Tensor, Tensor]]:
    with bar(desc="evaluating", total=n_tokens, unit="tokens", unit_scale=True, delay=1.0, leave=False) as shown:
        for inputs, targets in windows:
            yield inputs, targets
            shown.update(int((targets != IGNORED).sum()))
