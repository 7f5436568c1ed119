"""What a run learns from and is judged by."""

from dataclasses import dataclass
from pathlib import Path

from minigpt.config.hyperparameters import Config
from minigpt.data.sources import Source, open_source
from minigpt.data.tokens import TokenStream, prepare_tokenizer, prepare_tokens
from minigpt.errors import UserError
from minigpt.evaluation.text import known_entropy
from minigpt.tokenizers import Tokenizer, load_tokenizer
from minigpt.training.distributed import Processes


@dataclass(frozen=True)
class Corpus:
    """A text by its fingerprint, a tokenizer, the text as its tokens, the entropy of what is evaluated on if known."""

    text: str
    tokenizer: Tokenizer
    train: TokenStream
    validation: TokenStream
    entropy: float | None


def prepare_corpus(
    config: Config, processes: Processes, source: Source | None = None, tokenizer_file: Path | None = None
) -> Corpus:
    """Tokens of the recipe's source, which may be open already, by a run's own tokenizer where there is one.

    The first process makes them, the others find them made.
    """
    if not processes.first:
        processes.wait()
    directory = Path(config.data.directory)
    source = source or open_source(config.data)
    tokenizer: Tokenizer = (
        load_tokenizer(tokenizer_file)
        if tokenizer_file
        else prepare_tokenizer(source, config.tokenizer.kind, config.tokenizer.vocab_size, directory)
    )
    tokens = prepare_tokens(source, tokenizer, config.data.validation_fraction, directory)
    if processes.first:
        processes.wait()
    if len(tokens.train) <= config.model.context_length:
        raise UserError(
            f"data.source = {config.data.source}: its training part has {len(tokens.train):,} tokens, and "
            f"model.context_length = {config.model.context_length} needs one more than that; "
            "give a longer text or a shorter context"
        )
    limit = config.training.evaluation_tokens
    entropy = known_entropy(config.data.source, tokens.validation, tokenizer, limit) if processes.first else None
    return Corpus(source.fingerprint, tokenizer, tokens.train, tokens.validation, entropy)
