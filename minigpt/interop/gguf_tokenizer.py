"""A tokenizer as llama.cpp knows it: tokens as text, their types, merges, and how a text is cut before merging."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import groupby
from typing import Any

from minigpt.errors import UserError
from minigpt.interop.gguf_cuts import CUTS, cut_of, cut_of_definition
from minigpt.interop.tokenizer import definition, merges, special_tokens, written_bytes
from minigpt.tokenizers import Tokenizer
from minigpt.tokenizers.bpe import BytePairTokenizer
from minigpt.tokenizers.character import CharacterTokenizer
from minigpt.tokenizers.huggingface import BYTE, SPACE, HuggingFaceTokenizer
from minigpt.tokenizers.word import WordTokenizer


class TokenType(IntEnum):
    """What llama.cpp does with a token: user-defined ones are cut out of a text before everything else."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


SIGNS = r" ?(?:[^\s\w]|_)+"
APART = re.compile(rf"{SIGNS}| ?\d+|\s*[\r\n]\s*[^\S\r\n]")
"""Words that do not begin with letters, white space only where an indented line begins."""
NO_MERGES = ["<|endoftext|> <|endoftext|>"]
"""llama.cpp wants a list of merges that is not empty; two special tokens never meet in a text."""


@dataclass
class Vocabulary:
    """What a file says of the tokens, and where llama.cpp's ids differ from ours."""

    tokens: list[str]
    types: list[TokenType]
    cut: str = "gpt-2"
    merges: list[str] = field(default_factory=list)
    scores: list[float] | None = None
    """Of SentencePiece: of all neighbours that together are a token, those with the highest score are joined."""
    add_space_prefix: bool | None = None
    difference: str = ""


def vocabulary_of(tokenizer: Tokenizer) -> Vocabulary:
    """A tokenizer in llama.cpp's terms; UserError names what llama.cpp cannot do."""
    made = _of_hugging_face(tokenizer) if isinstance(tokenizer, HuggingFaceTokenizer) else _of_ours(tokenizer)
    if made.cut == "gpt-4o":
        made.difference = "llama.cpp cuts words with accents, or with capitals in their middle, in other places"
    return made


def _of_ours(tokenizer: Tokenizer) -> Vocabulary:
    names = {token: name for name, token in special_tokens(tokenizer).items()}
    made = Vocabulary([], [])
    for token, content in enumerate(tokenizer.token_bytes):
        made.tokens.append(names.get(token) or written_bytes(content) or f"[PAD{token}]")
        kind = TokenType.NORMAL if content else TokenType.UNUSED
        made.types.append(TokenType.CONTROL if token in names else kind)
    if isinstance(tokenizer, WordTokenizer):
        _set_words(made, tokenizer)
    elif isinstance(tokenizer, CharacterTokenizer):
        made.merges = list(_joined_bytes(tokenizer.token_bytes))
        made.difference = "llama.cpp leaves out characters that the model has not learned, which minigpt refuses"
    elif isinstance(tokenizer, BytePairTokenizer):
        made.merges = [f"{written_bytes(left)} {written_bytes(right)}" for left, right in merges(tokenizer)]
        made.cut = cut_of(tokenizer)
        n_unmerged = sum(len(content) > 1 for content in tokenizer.token_bytes) - len(made.merges)
        if n_unmerged and not CUTS[made.cut][1]:
            made.difference = (
                f"llama.cpp never takes {n_unmerged} tokens, which are only taken for whole pieces of a text"
            )
    return made


def _joined_bytes(characters: Iterable[bytes]) -> dict[str, None]:
    """Merges that put characters together of their bytes, from left to right; no character begins as another one."""
    found: dict[str, None] = {}
    for character in characters:
        letters = written_bytes(character)
        found |= {f"{letters[:n]} {letters[n]}": None for n in range(1, len(letters))}
    return found


def _set_words(made: Vocabulary, tokenizer: WordTokenizer) -> None:
    """Words, which are taken whole, without merges: what is no word stays bytes, as it does with us.

    llama.cpp's ways to take pieces whole cut a text as Llama 3 does, which leaves one sign at the letters after it and
    cuts numbers and indented lines otherwise. So signs, numbers and the like are cut out of the text beforehand.
    """
    numbers = {word: number for number, word in enumerate(tokenizer.words, start=256)}
    letters = {text: number for number, text in enumerate(made.tokens)}
    for word, number in numbers.items():
        longer = numbers.get(word[:-1], number) < number and word.isspace()  # by a blank, and more seldom
        free = letters.get(word, number) == number and "\0" not in word  # which ends a string
        if APART.fullmatch(word) and free and not longer:
            made.tokens[number], made.types[number] = word, TokenType.USER_DEFINED
    for number in range(1, 128):
        if chr(number) in "\t\n" or (chr(number).isprintable() and re.fullmatch(SIGNS, chr(number))):
            made.tokens[number], made.types[number] = chr(number), TokenType.USER_DEFINED
    made.cut = "llama-bpe"
    made.difference = (
        "llama.cpp cuts known words as minigpt does, but may cut white space, and numbers and runs of signs that are "
        "no known words, into other tokens"
    )


def _of_hugging_face(tokenizer: HuggingFaceTokenizer) -> Vocabulary:
    content = tokenizer.definition
    model = content["model"]
    fixed = {"type": "BPE", "dropout": None, "continuing_subword_prefix": None, "end_of_word_suffix": None}
    for key, value in fixed.items():
        if (found := model.get(key) or None) != value:
            raise UserError(
                f"tokenizer: model.{key} = {found!r}: llama.cpp can have {value!r} only; export to huggingface"
            )
    known: dict[str, int] = model["vocab"]
    by_id = {number: text for text, number in known.items()} | {one["id"]: one["content"] for one in _added(content)}
    made = Vocabulary([by_id.get(number, f"[PAD{number}]") for number in range(tokenizer.vocab_size)], [])
    made.types = [TokenType.NORMAL if number in by_id else TokenType.UNUSED for number in range(tokenizer.vocab_size)]
    pairs = [pair.split(" ", 1) if isinstance(pair, str) else pair for pair in model["merges"]]
    if model.get("byte_fallback"):
        _set_scores(made, known, pairs, content)
    else:
        made.merges = [" ".join(pair) for pair in pairs]
        made.cut = cut_of_definition(content)
    for one in _added(content):
        made.types[one["id"]] = TokenType.CONTROL if one["special"] else TokenType.USER_DEFINED
    if made.scores and model.get("unk_token") in known:
        made.types[known[model["unk_token"]]] = TokenType.UNKNOWN
    normalizer = content.get("normalizer")
    if not made.scores and normalizer is not None:
        if normalizer != {"type": "NFC"}:
            raise UserError(
                f"tokenizer: normalizer = {normalizer.get('type')!r}: llama.cpp has none; export to huggingface"
            )
        made.difference = "llama.cpp does not compose characters (NFC): it cuts letters with separate accents otherwise"
    return made


def _added(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(content.get("added_tokens") or ())


def _set_scores(made: Vocabulary, known: Mapping[str, int], pairs: list[list[str]], content: Mapping[str, Any]) -> None:
    """As SentencePiece does it: a score for each token, the highest for what is joined first.

    UserError where the merges are not all ways to put each token together of two others, one token after the other.
    """
    made.add_space_prefix = _adds_space(content)
    apart = {one["content"] for one in _added(content)}
    ways = ways_to_join({token for token in known if token not in apart and not BYTE.fullmatch(token)})
    order = [token for token, _ in groupby(left + right for left, right in pairs)]
    if {(left, right) for left, right in pairs} != ways or len(set(order)) < len(order):
        raise UserError(
            "tokenizer: model.merges: not those of SentencePiece, which llama.cpp needs; export to huggingface"
        )
    made.scores = [-float(len(order))] * len(made.tokens)
    for rank, token in enumerate(order):
        made.scores[known[token]] = -float(rank)
    for token, number in known.items():
        if BYTE.fullmatch(token):
            made.types[number] = TokenType.BYTE


LONGEST_JOINED = 512
"""Characters of a token that is looked for in others; SentencePiece's own have 16 at most."""


def ways_to_join(tokens: set[str]) -> set[tuple[str, str]]:
    """All pairs of tokens that together are a token."""
    ways = ((token[:n], token[n:]) for token in tokens if len(token) <= LONGEST_JOINED for n in range(1, len(token)))
    return {way for way in ways if tokens.issuperset(way)}


def _adds_space(content: Mapping[str, Any]) -> bool:
    """Whether a text gets a space before it, in the two ways in which SentencePiece is written."""
    prepend, replace = (
        {"type": "Prepend", "prepend": SPACE},
        {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
    )
    match content.get("normalizer"), content.get("pre_tokenizer"):
        case {"type": "Sequence", "normalizers": parts}, None if parts in ([prepend, replace], [replace]):
            return len(parts) == 2
        case normalizer, None if normalizer == replace:
            return False
        case None, {"type": "Metaspace", "replacement": "▁", "split": False, "prepend_scheme": scheme}:
            return scheme != "never"
    raise UserError("tokenizer: normalizer, pre_tokenizer: not those of SentencePiece; export to huggingface")


def add_tokenizer(writer: Any, tokenizer: Tokenizer, vocabulary: Vocabulary, begins_documents: bool) -> None:
    """Put a tokenizer into a file that is being written: as llama.cpp knows it, and as a whole `tokenizer.json`."""
    writer.add_tokenizer_model("gpt2" if vocabulary.scores is None else "llama")
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types([int(kind) for kind in vocabulary.types])
    if vocabulary.scores is None:
        writer.add_tokenizer_pre(vocabulary.cut)
        writer.add_token_merges(vocabulary.merges or NO_MERGES)
    else:
        writer.add_tokenizer_pre("default")
        writer.add_token_scores(vocabulary.scores)
        writer.add_add_space_prefix(vocabulary.add_space_prefix)
    writer.add_bos_token_id(tokenizer.begin_of_text)
    writer.add_eos_token_id(tokenizer.end_of_text)
    writer.add_add_bos_token(begins_documents)
    writer.add_string("tokenizer.huggingface.json", json.dumps(definition(tokenizer, begins_documents)))
