"""How llama.cpp cuts a text into the pieces that merges stay inside of: its names for tokenizers' patterns."""

from collections.abc import Mapping
from typing import Any

from minigpt.errors import UserError
from minigpt.tokenizers.bpe import GPT2_PATTERN, BytePairTokenizer

DIGIT = r"\p{N}"
LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
QWEN2_PATTERN = LLAMA3_PATTERN.replace(r"\p{N}{1,3}", DIGIT)
O200K_PATTERN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CUTS: dict[str, tuple[tuple[str, ...], bool]] = {
    "gpt-2": ((GPT2_PATTERN,), False),
    "llama-bpe": ((LLAMA3_PATTERN,), True),
    "smaug-bpe": ((LLAMA3_PATTERN,), False),
    "qwen2": ((QWEN2_PATTERN,), False),
    "gpt-4o": ((O200K_PATTERN,), False),
    "smollm": ((DIGIT, GPT2_PATTERN), False),
}
"""llama.cpp's names for ways to cut a text: its patterns, and whether a piece that is a token is taken as it is."""
OTHER_NAMES = {
    **dict.fromkeys(("llama3", "llama-v3", "falcon3", "pixtral"), "llama-bpe"),
    **dict.fromkeys(("deepseek-r1-qwen", "megrez"), "qwen2"),
    "dbrx": "smaug-bpe",
    "starcoder": "smollm",
}
"""What it also calls them."""
ENCODINGS = {
    **dict.fromkeys(("gpt2", "r50k_base", "p50k_base", "p50k_edit"), "gpt-2"),
    "cl100k_base": "llama-bpe",
    **dict.fromkeys(("o200k_base", "o200k_harmony"), "gpt-4o"),
}
"""Those of tiktoken's encodings, whose patterns say the same in other words."""


def cut_of(tokenizer: BytePairTokenizer) -> str:
    """The name of the way in which a byte-pair tokenizer cuts a text; UserError where llama.cpp has none for it."""
    if tokenizer.pattern == GPT2_PATTERN:
        return "gpt-2"
    if tokenizer.kind not in ENCODINGS:
        raise UserError(
            f"tokenizer.kind = {tokenizer.kind}: llama.cpp cannot cut texts by its pattern {tokenizer.pattern!r}; "
            f"train with bpe or one of {', '.join(ENCODINGS)}"
        )
    return ENCODINGS[tokenizer.kind]


def cut_of_definition(content: Mapping[str, Any]) -> str:
    """The same for the content of a `tokenizer.json`."""
    cutter = content.get("pre_tokenizer") or {}
    patterns: list[str] = []
    for part in cutter.get("pretokenizers", [cutter]):
        match part:
            case {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}:
                patterns.append(pattern)
            case {"type": "Digits", "individual_digits": True}:
                patterns.append(DIGIT)
            case {"type": "ByteLevel", "add_prefix_space": False, **rest}:
                patterns += [GPT2_PATTERN] if rest.get("use_regex", True) else []
            case _:
                patterns.append(str(part.get("type")))
    wanted = (tuple(patterns), bool(content["model"].get("ignore_merges")))
    for name, cut in CUTS.items():
        if cut == wanted:
            return name
    shown = ", ".join(patterns)[:50]
    raise UserError(f"tokenizer: pre_tokenizer = {shown!r}: llama.cpp does not cut texts so; export to huggingface")


def pre_tokenizer(cut: str) -> dict[str, Any]:
    """What a `tokenizer.json` says of a way to cut a text."""
    split = {"type": "Split", "behavior": "Isolated", "invert": False}
    letters = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    splits = [split | {"pattern": {"Regex": pattern}} for pattern in CUTS[cut][0]]
    return {"type": "Sequence", "pretokenizers": [*splits, letters]}
