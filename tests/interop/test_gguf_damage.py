"""A file that is damaged, or holds what minigpt has no place for, is told in one line."""

import random
import struct
from pathlib import Path
from typing import Any

import pytest
from conftest import random_model
from gguf_writing import as_run, exported, float32, gguf_bytes, string

from minigpt.errors import UserError
from minigpt.interop.gguf import settings, their_name
from minigpt.interop.gguf_import import read_gguf
from minigpt.tokenizers.byte import ByteTokenizer

TOKENS = [*map(chr, range(33, 82)), "<|endoftext|>"]


def parts(**shape: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Values and tensors of a Llama that is read without complaint."""
    model = random_model(qk_norm=False, scale_embeddings=False, n_layers=1, **shape)
    values = {
        "general.architecture": "llama",
        **{f"llama.{key}": value for key, value in settings(model.config).items()},
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "gpt-2",
        "tokenizer.ggml.tokens": TOKENS,
        "tokenizer.ggml.token_type": [1] * 49 + [3],
        "tokenizer.ggml.merges": ["! !"],
        "tokenizer.ggml.eos_token_id": 49,
    }
    values["tokenizer.ggml.tokens"] = [*TOKENS[:-2], "!!", TOKENS[-1]]
    weights = {name: weight for name, weight in model.state_dict().items() if name != "lm_head.weight"}
    return values, {their_name(name): float32(weight) for name, weight in weights.items()}


def test_nothing_is_wrong_with_it(tmp_path: Path) -> None:
    (tmp_path / "model.gguf").write_bytes(gguf_bytes(*parts()))
    assert read_gguf(tmp_path / "model.gguf").tokenizer.encode("!!!").tolist() == [48, 0]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"general.architecture": "gemma3"}, "general.architecture = 'gemma3': minigpt can have models of gpt2, llama"),
    ({"llama.rope.scaling.type": "yarn"}, "llama.rope.scaling.type = 'yarn': minigpt's model can have none only"),
    ({"llama.rope.dimension_count": 4}, "llama.rope.dimension_count = 4: minigpt's model can have 8 only"),
    ({"llama.expert_count": 8}, "llama.expert_count = 8: minigpt's model can have 0 only"),
    ({"llama.attention.sliding_window": 128}, "llama.attention.sliding_window = 128"),
    ({"llama.final_logit_softcapping": 30.0}, "llama.final_logit_softcapping = 30.0: minigpt's model can have nothing"),
    ({"llama.attention.head_count": 3}, "n_heads (3) must be divisible by n_kv_heads (4)"),
    ({"llama.attention.head_count": [4, 2]}, r"llama.attention.head_count = [4, 2]: Input should be a valid integer"),
    ({"llama.block_count": 2}, "the tensor blk.1.attn_norm.weight is not there"),
    ({"llama.block_count": 2_000_000}, "llama.block_count = 2000000: Input should be less than"),
    ({"llama.feed_forward_length": 64}, "blk.0.ffn_gate.weight has the shape (96, 32)"),
    ({"llama.attention.head_count": None}, "llama.attention.head_count is not there"),
    ({"tokenizer.ggml.model": "t5"}, "tokenizer.ggml.model = 't5': this minigpt reads gpt2 and llama"),
    ({"tokenizer.ggml.pre": "qwen35"}, "tokenizer.ggml.pre = 'qwen35': a way to cut texts that is not known here"),
    ({"tokenizer.ggml.eos_token_id": 50}, "its tokenizer is damaged: the special token 50 is not among"),
    ({"tokenizer.ggml.eos_token_id": None}, "tokenizer.ggml.eos_token_id = None: must be int"),
    ({"tokenizer.ggml.token_type": [1]}, "its tokenizer is damaged: it has 50 tokens with 1 types"),
    ({"tokenizer.ggml.tokens": ["a"] * 50}, "its tokenizer is damaged: a token is there twice"),
    ({"tokenizer.ggml.tokens": None}, "its tokenizer is damaged: tokenizer.ggml.tokens is no list of str"),
    ({"tokenizer.ggml.merges": ["a b"]}, "its tokenizer is damaged: 'tokenizer' is none that the package"),
    ({"tokenizer.huggingface.json": "{"}, "its tokenizer is damaged: Expecting"),
    ({"tokenizer.huggingface.json": "[]"}, "its tokenizer is damaged: tokenizer.huggingface.json holds no object"),
    ({"split.count": 3}, "split.count = 3: put the parts together with llama-gguf-split --merge"),
    ({"general.alignment": 0}, "damaged GGUF file (general.alignment = 0)"),
]


@pytest.mark.parametrize(("change", "message"), REFUSED)
def test_what_minigpt_has_no_place_for_is_named(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    values, tensors = parts()
    changed = {key: value for key, value in {**values, **change}.items() if value is not None}
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_bytes(changed, tensors))
    with pytest.raises(UserError) as raised:
        read_gguf(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_tensor_that_is_missing_is_named(tmp_path: Path) -> None:
    values, tensors = parts()
    for name in ("blk.0.ffn_up.weight", "token_embd.weight"):
        del tensors[name]
        (tmp_path / "model.gguf").write_bytes(gguf_bytes(values, tensors))
        with pytest.raises(UserError, match=f"the tensor {name} is not there"):
            read_gguf(tmp_path / "model.gguf")


@pytest.mark.parametrize(
    ("name", "numbers", "refused"),
    [("rope_freqs.weight", 1.0, False), ("rope_freqs.weight", 8.0, True), ("blk.0.attn_q_norm.weight", 1.0, True)],
)
def test_tensors_that_would_change_the_model_are_named(
    name: str, numbers: float, refused: bool, tmp_path: Path
) -> None:
    values, tensors = parts()
    tensors[name] = (4,), 0, struct.pack("<4f", *[numbers] * 4)
    (tmp_path / "model.gguf").write_bytes(gguf_bytes(values, tensors))
    if not refused:
        read_gguf(tmp_path / "model.gguf")
        return
    with pytest.raises(UserError, match=f"{name}: minigpt's model has no place for this tensor"):
        read_gguf(tmp_path / "model.gguf")


HEAD = b"GGUF" + struct.pack("<I", 3)
HUGE = 2**62
ABSURD = {
    "nothing": b"",
    "text": b"Once upon a time there was a file of text.",
    "another version": b"GGUF" + struct.pack("<IQQ", 1, 0, 0),
    "no values": HEAD + struct.pack("<QQ", 0, 0),
    "values without end": HEAD + struct.pack("<QQ", 0, HUGE),
    "tensors without end": HEAD + struct.pack("<QQ", HUGE, 0),
    "a string without end": HEAD + struct.pack("<QQQ", 0, 1, HUGE) + bytes(99),
    "a list without end": HEAD + struct.pack("<QQ", 0, 1) + string("a") + struct.pack("<IIQ", 9, 4, HUGE) + bytes(99),
    "strings without end": HEAD + struct.pack("<QQ", 0, 1) + string("a") + struct.pack("<IIQ", 9, 8, HUGE) + bytes(99),
    "an unknown value": HEAD + struct.pack("<QQ", 0, 1) + string("a") + struct.pack("<I", 99) + bytes(99),
    "no UTF-8": HEAD + struct.pack("<QQQ", 0, 1, 1) + b"\xff" + bytes(99),
    "a value twice": HEAD + struct.pack("<QQ", 0, 2) + 2 * (string("a") + struct.pack("<II", 4, 0)) + bytes(99),
    "a huge tensor": HEAD + struct.pack("<QQ", 1, 0) + string("a") + struct.pack("<IQIQ", 1, HUGE, 0, 0) + bytes(99),
    "many dimensions": HEAD + struct.pack("<QQ", 1, 0) + string("a") + struct.pack("<I", HUGE % 2**32 + 5) + bytes(99),
    "an unknown type": HEAD + struct.pack("<QQ", 1, 0) + string("a") + struct.pack("<IQIQ", 1, 4, 99, 0) + bytes(99),
    "a type that is not read": HEAD + struct.pack("<QQ", 1, 0) + string("a") + struct.pack("<IQIQ", 1, 256, 16, 0),
    "half a block": HEAD + struct.pack("<QQ", 1, 0) + string("a") + struct.pack("<IQIQ", 1, 33, 8, 0) + bytes(99),
    "an empty tensor": HEAD + struct.pack("<QQ", 1, 0) + string("a") + struct.pack("<IQIQ", 1, 0, 0, 0) + bytes(99),
}


@pytest.mark.parametrize("kind", ABSURD)
def test_absurd_files_are_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(ABSURD[kind])
    with pytest.raises(UserError) as raised:
        read_gguf(path)
    assert str(raised.value).startswith(f"{path}: ")


@pytest.mark.parametrize("place", ["", "nowhere.gguf"])
def test_what_is_no_file_is_refused(place: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is no file|No such file"):
        read_gguf(tmp_path / place)


def test_damage_is_told_or_harmless(tmp_path: Path) -> None:
    """Cut off anywhere, or with a byte of its settings changed."""
    path = exported(tmp_path / "model.gguf", as_run(ByteTokenizer(), n_layers=1))
    whole, choose = path.read_bytes(), random.Random(5)
    header = whole.index(b"output_norm.weight") + 300
    cut = [whole[:length] for length in [*range(0, header, 700), *range(header, len(whole) - 32, 9000)]]
    places = [choose.randrange(8, header) for _ in range(120)]
    changed = [whole[:place] + bytes([choose.randrange(256)]) + whole[place + 1 :] for place in places]
    for number, content in enumerate(cut + changed):
        path.write_bytes(content)
        try:
            read_gguf(path).weight("blocks.0.attention.q_proj.weight")
        except UserError as error:
            assert str(error).startswith(f"{path}: ")  # noqa: PT017 - some changes do no harm
        else:
            assert number >= len(cut)
