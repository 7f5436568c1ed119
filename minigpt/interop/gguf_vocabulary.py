"""The tokenizer of a GGUF file, as a `tokenizer.json` that gives the ids that llama.cpp gives."""

import json
from typing import Any

from minigpt.errors import UserError, nearest
from minigpt.interop.gguf_cuts import CUTS, OTHER_NAMES, pre_tokenizer
from minigpt.interop.gguf_file import GgufFile
from minigpt.interop.gguf_tokenizer import NO_MERGES, TokenType, ways_to_join
from minigpt.tokenizers.huggingface import SPACE, HuggingFaceTokenizer

KINDS = ("gpt2", "llama")
"""Byte-level merges, and SentencePiece."""
USUAL = {"bos_token_id": 1, "eos_token_id": 2, "unknown_token_id": 0, "add_space_prefix": True}
"""What SentencePiece has where a file does not say it."""
IS_SPECIAL = {TokenType.CONTROL: True, TokenType.UNKNOWN: True, TokenType.USER_DEFINED: False}
"""Types of tokens that merges do not make, and whether they are no text."""


def read_tokenizer(file: GgufFile, vocab_size: int) -> HuggingFaceTokenizer:
    """The file's tokenizer: its whole `tokenizer.json` where it has one, else what llama.cpp knows of it.

    UserError names a kind, or a way to cut texts, that is not known here.
    """
    end = _value(file, "eos_token_id", int)
    begin = _value(file, "bos_token_id", int, end)
    try:
        whole = file.values.get("tokenizer.huggingface.json")
        definition = json.loads(whole) if isinstance(whole, str) else _definition(file)
        if not isinstance(definition, dict):
            raise ValueError("tokenizer.huggingface.json holds no object")
        return HuggingFaceTokenizer(definition, vocab_size, end, begin)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file.path}: its tokenizer is damaged: {error}; get the file again") from None


def begins_documents(file: GgufFile) -> bool:
    """Whether a text is to begin with begin-of-text; where the file does not say it, as llama.cpp does."""
    if "tokenizer.ggml.add_bos_token" in file.values:
        return _value(file, "add_bos_token", bool)
    return _kind(file) == "llama" or _cut(file) == "llama-bpe"


def _definition(file: GgufFile) -> dict[str, Any]:
    tokens, types = _list(file, "tokens", str), _list(file, "token_type", int)
    if len(types) != len(tokens):
        raise ValueError(f"it has {len(tokens)} tokens with {len(types)} types")
    if len(set(tokens)) < len(tokens):
        raise ValueError("a token is there twice")
    vocabulary = {token: number for number, token in enumerate(tokens) if types[number] != TokenType.UNUSED}
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    added = [
        {"id": number, "content": tokens[number], "special": IS_SPECIAL[TokenType(kind)], **plain}
        for number, kind in enumerate(types)
        if kind in IS_SPECIAL
    ]
    model = {"type": "BPE", "vocab": vocabulary, "dropout": None}
    rest = _by_bytes(file, model) if _kind(file) == "gpt2" else _by_scores(file, model, types)
    return {"version": "1.0", "added_tokens": added, "post_processor": None, **rest}


def _by_bytes(file: GgufFile, model: dict[str, Any]) -> dict[str, Any]:
    """Byte-level merges, as GPT-2 has them."""
    merges = _list(file, "merges", str)
    pairs = [] if merges == NO_MERGES else [merge.split(" ", 1) for merge in merges]
    cut = _cut(file)
    return {
        "normalizer": None,
        "pre_tokenizer": pre_tokenizer(cut),
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": model | {"merges": pairs, "ignore_merges": CUTS[cut][1]},
    }


def _by_scores(file: GgufFile, model: dict[str, Any], types: list[int]) -> dict[str, Any]:
    """SentencePiece: what joins to the token with the highest score is joined first; what is left over is bytes."""
    scores, vocabulary = _list(file, "scores", float), model["vocab"]
    unknown = _value(file, "unknown_token_id", int)
    if len(scores) != len(types) or not 0 <= unknown < len(types):
        raise ValueError(f"it has {len(types)} tokens with {len(scores)} scores, of which {unknown} is the unknown one")
    apart = (TokenType.CONTROL, TokenType.UNKNOWN, TokenType.BYTE)
    ways = ways_to_join({token for token, number in vocabulary.items() if types[number] not in apart})
    pairs = sorted(ways, key=lambda pair: (-scores[token := vocabulary[pair[0] + pair[1]]], token, pair))
    space = [{"type": "Replace", "pattern": {"String": " "}, "content": SPACE}]
    text = [
        {"type": "Replace", "pattern": {"String": SPACE}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
    ]
    if _value(file, "add_space_prefix", bool):
        space.insert(0, {"type": "Prepend", "prepend": SPACE})
        text.append({"type": "Strip", "content": " ", "start": 1, "stop": 0})
    name = _list(file, "tokens", str)[unknown]
    return {
        "normalizer": {"type": "Sequence", "normalizers": space},
        "pre_tokenizer": None,
        "decoder": {"type": "Sequence", "decoders": text},
        "model": model | {"unk_token": name, "fuse_unk": True, "byte_fallback": True, "merges": pairs},
    }


def _kind(file: GgufFile) -> str:
    kind = file.values.get("tokenizer.ggml.model")
    if kind not in KINDS:
        raise UserError(f"{file.path}: tokenizer.ggml.model = {kind!r}: this minigpt reads {' and '.join(KINDS)}")
    return str(kind)


def _cut(file: GgufFile) -> str:
    name = file.values.get("tokenizer.ggml.pre")
    cut = OTHER_NAMES.get(str(name), str(name))
    if cut not in CUTS:
        known = [*CUTS, *OTHER_NAMES]
        raise UserError(
            f"{file.path}: tokenizer.ggml.pre = {name!r}: a way to cut texts that is not known here; known are "
            f"{', '.join(known)}{nearest(cut, known)}; import the model from a folder of Transformers"
        )
    return cut


def _value(file: GgufFile, key: str, kind: type, default: object = None) -> Any:
    usual = default if file.values.get("tokenizer.ggml.model") != "llama" else USUAL.get(key, default)
    value = file.values.get(f"tokenizer.ggml.{key}", usual)
    if type(value) is not kind:
        raise UserError(f"{file.path}: tokenizer.ggml.{key} = {value!r}: must be {kind.__name__}; get the file again")
    return value


def _list(file: GgufFile, key: str, kind: type) -> list[Any]:
    values = file.values.get(f"tokenizer.ggml.{key}")
    if not isinstance(values, list) or not all(type(value) is kind for value in values):
        raise ValueError(f"tokenizer.ggml.{key} is no list of {kind.__name__}")
    return values
