"""Tokenizers: text as numbers, by character, byte, frequent pair (bpe) or word, or as one of tiktoken's encodings."""

from collections.abc import Iterable
from pathlib import Path

from minigpt.errors import UserError, nearest
from minigpt.storage.checksums import DamageError, read_json, unsealed
from minigpt.tokenizers.base import FORMAT, VERSION, TokenIds, Tokenizer, read_field
from minigpt.tokenizers.bpe import BytePairTokenizer
from minigpt.tokenizers.byte import ByteTokenizer
from minigpt.tokenizers.character import CharacterTokenizer
from minigpt.tokenizers.huggingface import KIND as HUGGING_FACE
from minigpt.tokenizers.huggingface import HuggingFaceTokenizer
from minigpt.tokenizers.word import WordTokenizer

__all__ = ["TokenIds", "Tokenizer", "build_tokenizer", "check_kind", "load_tokenizer"]

KINDS: dict[str, type[Tokenizer]] = {
    "character": CharacterTokenizer,
    "byte": ByteTokenizer,
    "bpe": BytePairTokenizer,
    "word": WordTokenizer,
}


def build_tokenizer(kind: str, vocab_size: int, texts: Iterable[str]) -> Tokenizer:
    """A tokenizer of `kind`, learned from `texts` where it learns.

    `texts` are pieces of a corpus of any length, taken one after the other: character reads them all, bpe and word
    the beginning, byte and tiktoken's encodings none. bpe and word get at most `vocab_size` tokens, fewer from a small
    corpus; the others have their own number. UserError for an unknown kind or an encoding that cannot be had.
    """
    match kind:
        case "character":
            return CharacterTokenizer.learn(texts)
        case "byte":
            return ByteTokenizer()
        case "bpe":
            return BytePairTokenizer.learn(texts, vocab_size)
        case "word":
            return WordTokenizer.learn(texts, vocab_size)
    return named_tokenizer(kind)


def check_kind(kind: str) -> None:
    """UserError where neither minigpt nor tiktoken has a tokenizer of that name."""
    if kind in KINDS:
        return
    if kind == HUGGING_FACE:
        raise UserError(
            f"tokenizer.kind: {kind!r} is that of an imported model; train it with training.init_from=RUN, or name "
            f"another kind: {', '.join(KINDS)}"
        )
    import tiktoken

    kinds = [*KINDS, *tiktoken.list_encoding_names()]
    if kind not in kinds:
        raise UserError(f"tokenizer.kind: {kind!r} is not one of {', '.join(kinds)}{nearest(kind, kinds)}")


def named_tokenizer(name: str, asked: str = "tokenizer.kind =", instead: str = "bpe") -> Tokenizer:
    """One of tiktoken's encodings, `asked` for by some key; UserError where there is none of that `name` to be had."""
    check_kind(name)
    try:
        return BytePairTokenizer.named(name)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{asked} {name}: tiktoken has not cached it and could not fetch it ({type(error).__name__}); "
            f"connect to the network once, set TIKTOKEN_CACHE_DIR to a folder that has it, or use {instead}"
        ) from error


def load_tokenizer(path: str | Path) -> Tokenizer:
    """The tokenizer that was saved to `path`; UserError where there is none, or none that is whole."""
    remedy = "copy it again from where it was whole, or train anew"
    try:
        fields = read_json(Path(path))
        if fields.get("format") != FORMAT:
            raise ValueError(f'it has no "format": "{FORMAT}"')
        if fields.get("version") != VERSION:
            raise UserError(
                f"{path}: its tokenizer format has version {fields.get('version')!r} and this minigpt reads {VERSION}; "
                "use the minigpt that saved it"
            )
        fields = unsealed(fields)
        kind = read_field(fields, "kind", str)
        reader = HuggingFaceTokenizer if kind == HUGGING_FACE else KINDS.get(kind, BytePairTokenizer)
        return reader.from_fields(fields)
    except DamageError as error:
        raise DamageError(f"{error}; {remedy}") from None
    except ValueError as error:
        raise DamageError(f"{path}: damaged tokenizer: {error}; {remedy}") from None
