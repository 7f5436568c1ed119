"""What a file says of a tokenizer is enough for the same ids."""

import json
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from gguf_writing import as_run, exported
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Fast

from minigpt.data import stories
from minigpt.errors import UserError
from minigpt.interop.gguf_cuts import CUTS
from minigpt.interop.gguf_file import GgufFile
from minigpt.interop.gguf_tokenizer import TokenType, vocabulary_of, ways_to_join
from minigpt.interop.gguf_vocabulary import read_tokenizer
from minigpt.tokenizers import Tokenizer, build_tokenizer
from minigpt.tokenizers.base import SINGLE_BYTES
from minigpt.tokenizers.bpe import BytePairTokenizer
from minigpt.tokenizers.huggingface import HuggingFaceTokenizer
from minigpt.tokenizers.word import WordTokenizer

STORIES = list(stories.generate(100, 0))
PARTS = [
    *(" ", "  ", "\n", "\r\n", "\t", "'s", "'ll", '"', " (", "_", ".", "..", "12", " 1987", "½", "٣", "é", "e\u0301"),
    *("的한", "👩\u200d👩", "ÉcoLe", "<|endoftext|>", "<s>", "▁", "\0", "The king", " said", "hello", " hello", "x"),
]


@cache
def texts() -> list[str]:
    choose = random.Random(3)
    return [*PARTS, *STORIES[:5], *("".join(choose.choices(PARTS, k=choose.randrange(9))) for _ in range(300))]


@cache
def byte_level(*patterns: str, ignore_merges: bool = False) -> Tokenizer:
    """As a folder of Transformers has it: merges, a special token, one that is text and is never cut."""
    fast = Fast(models.BPE(ignore_merges=ignore_merges))
    splits = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    fast.pre_tokenizer = pre_tokenizers.Sequence([*splits, letters])
    fast.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=600, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"], show_progress=False
    )
    fast.train_from_iterator(STORIES + texts(), trainer)
    fast.add_tokens(["ll’s", "hello"])
    return HuggingFaceTokenizer(json.loads(fast.to_str()), 610, 0)


@cache
def sentence_piece(adds_space: bool = True) -> Tokenizer:
    special = ["<unk>", "<s>", "</s>"]
    fast = Fast(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    replace, back = normalizers.Replace(" ", "▁"), decoders.Replace("▁", " ")
    fast.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), replace] if adds_space else [replace])
    strip = [decoders.Strip(" ", 1, 0)] if adds_space else []
    fast.decoder = decoders.Sequence([back, decoders.ByteFallback(), decoders.Fuse(), *strip])
    single = [f"<0x{byte:02X}>" for byte in range(256)]
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=special + single, show_progress=False)
    fast.train_from_iterator(STORIES, trainer)
    definition = json.loads(fast.to_str())
    definition["added_tokens"] = definition["added_tokens"][: len(special)]
    vocabulary = definition["model"]["vocab"]
    pairs = ways_to_join(vocabulary.keys() - set(special + single))
    definition["model"]["merges"] = sorted(pairs, key=lambda pair: (vocabulary["".join(pair)], pair))
    return HuggingFaceTokenizer(definition, len(vocabulary), 2, 1)


TOKENIZERS: dict[str, Callable[[], Tokenizer]] = {
    "byte": lambda: build_tokenizer("byte", 0, []),
    "bpe": lambda: build_tokenizer("bpe", 600, STORIES + texts()),
    **{f"like {name}": (lambda cut=cut: byte_level(*cut[0], ignore_merges=cut[1])) for name, cut in CUTS.items()},
    "SentencePiece": sentence_piece,
    "SentencePiece without space": lambda: sentence_piece(False),
}
WHOLE: dict[str, Callable[[], Tokenizer]] = {
    "word": lambda: build_tokenizer("word", 600, STORIES),
    "character": lambda: build_tokenizer("character", 0, STORIES + texts()),
}


def written(tokenizer: Tokenizer, path: Path, *without: str) -> HuggingFaceTokenizer:
    """The tokenizer of a file that was exported, read without some of its values."""
    file = GgufFile(exported(path, as_run(tokenizer)))
    for key in without:
        del file.values[f"tokenizer.{key}"]
    return read_tokenizer(file, tokenizer.vocab_size)


def assert_same(tokenizer: Tokenizer, again: Tokenizer) -> None:
    for text in texts():
        assert again.encode(text).tolist() == tokenizer.encode(text).tolist(), text
    assert (again.end_of_text, again.begin_of_text) == (tokenizer.end_of_text, tokenizer.begin_of_text)
    assert again.token_bytes == tokenizer.token_bytes


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_what_llama_cpp_knows_gives_the_same_ids(kind: str, tmp_path: Path) -> None:
    """As from other programs' files, which have no `tokenizer.json` inside."""
    tokenizer = TOKENIZERS[kind]()
    assert_same(tokenizer, written(tokenizer, tmp_path / "model.gguf", "huggingface.json"))


@pytest.mark.parametrize("kind", WHOLE)
def test_a_tokenizer_that_is_inside_whole_gives_the_same_ids(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = WHOLE[kind]()
    assert_same(tokenizer, written(tokenizer, tmp_path / "model.gguf"))
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == 1
    assert warnings[0].startswith(f"warning: {tmp_path / 'model.gguf'}: llama.cpp ")


def test_words_of_signs_and_numbers_are_cut_out_of_a_text() -> None:
    words = ["hello", ' "', "°", " 12", "\n   ", "\n    ", "  ", "\n\n", "_x", "é", "\0."]
    made = vocabulary_of(WordTokenizer(words))
    apart = {token for token, kind in zip(made.tokens, made.types, strict=True) if kind is TokenType.USER_DEFINED}
    signs = {chr(byte) for byte in range(33, 127) if not chr(byte).isalnum()}
    assert apart == signs | {"\t", "\n", ' "', " 12", "\n   "}
    assert made.merges == []
    assert len(set(made.tokens)) == len(made.tokens) == 256 + len(words) + 1


def test_characters_are_put_together_of_their_bytes() -> None:
    made = vocabulary_of(build_tokenizer("character", 0, ["a€é\n"]))
    assert made.tokens == ["Ċ", "a", "Ã©", "âĤ¬", "<|endoftext|>"]
    assert made.merges == ["Ã ©", "â Ĥ", "âĤ ¬"]


def test_other_patterns_are_refused_by_name() -> None:
    tokenizer = BytePairTokenizer("mine", r"[\s\S]", [*SINGLE_BYTES, b""], {"<|endoftext|>": 256})
    with pytest.raises(UserError, match=r"tokenizer.kind = mine: llama.cpp cannot cut texts by its pattern"):
        vocabulary_of(tokenizer)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pre_tokenizer": {"type": "Whitespace"}}, "pre_tokenizer = 'Whitespace'"),
        ({"normalizer": {"type": "Lowercase"}}, "normalizer = 'Lowercase'"),
        ({"model": {"end_of_word_suffix": "</w>"}}, "model.end_of_word_suffix = '</w>'"),
    ],
)
def test_what_llama_cpp_cannot_do_is_refused_by_name(change: dict[str, Any], message: str) -> None:
    tokenizer = byte_level(*CUTS["gpt-2"][0])
    assert isinstance(tokenizer, HuggingFaceTokenizer)
    model = tokenizer.definition["model"] | change.get("model", {})
    definition = {**tokenizer.definition, **change, "model": model}
    with pytest.raises(UserError, match=f"tokenizer: {message}: llama.cpp"):
        vocabulary_of(HuggingFaceTokenizer(definition, 610, 0))


def test_merges_that_are_not_those_of_sentence_piece_are_refused() -> None:
    tokenizer = sentence_piece()
    assert isinstance(tokenizer, HuggingFaceTokenizer)
    model = tokenizer.definition["model"]
    fewer = {**tokenizer.definition, "model": {**model, "merges": model["merges"][:-1]}}
    with pytest.raises(UserError, match=r"model\.merges: not those of SentencePiece"):
        vocabulary_of(HuggingFaceTokenizer(fewer, tokenizer.vocab_size, 2, 1))
