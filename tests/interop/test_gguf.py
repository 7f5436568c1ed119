"""Models go into GGUF files and come back; weights of few bits are read as the format says."""

import os
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from conftest import minigpt, random_model
from gguf_writing import as_run, exported, float32, gguf_bytes

from minigpt.errors import UserError
from minigpt.interop.export import export_run
from minigpt.interop.gguf import halved, interleaved, their_name
from minigpt.interop.gguf_file import GgufFile
from minigpt.interop.gguf_import import read_gguf
from minigpt.interop.imported import write_run
from minigpt.model.gpt import GPT
from minigpt.runs import load_run
from minigpt.tokenizers.byte import ByteTokenizer

GPT2 = {"position": "learned", "norm": "layernorm", "feed_forward": "gelu", "qk_norm": False}
FAMILIES: dict[str, dict[str, Any]] = {
    "qwen3": {"n_kv_heads": 2, "d_head": 16},
    "qwen3 without factor": {"scale_embeddings": False},
    "llama": {"qk_norm": False, "n_kv_heads": 2, "tie_embeddings": False},
    "llama with biases": {"qk_norm": False, "bias": True, "scale_embeddings": False},
    "gpt2": GPT2,
    "gpt2 with biases": GPT2 | {"bias": True, "scale_embeddings": False},
}
TOKENS = torch.randint(257, (2, 16), generator=torch.Generator().manual_seed(0))
TOLERANCE = {"f32": 0.0, "f16": 0.002, "q8_0": 0.05}
"""Of the logits, as a share of their standard deviation."""
TOKENIZER = {
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "gpt-2",
    "tokenizer.ggml.tokens": [*"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVW", "<|endoftext|>"],
    "tokenizer.ggml.token_type": [1] * 49 + [3],
    "tokenizer.ggml.merges": ["<|endoftext|> <|endoftext|>"],
    "tokenizer.ggml.eos_token_id": 49,
}


def logits(model: GPT) -> torch.Tensor:
    with torch.no_grad():
        return model(TOKENS % (model.config.vocab_size or 1))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_comes_back(family: str, dtype: str, tmp_path: Path) -> None:
    run = as_run(ByteTokenizer(), **FAMILIES[family])
    path = exported(tmp_path / "model.gguf", run, dtype)
    again = load_run(write_run(read_gguf(path), tmp_path / "run").path)
    expected = logits(run.model)
    assert (logits(again.model) - expected).square().mean().sqrt() <= TOLERANCE[dtype] * expected.std()
    assert again.config.model.norm_epsilon == run.config.model.norm_epsilon
    assert again.config.sampling.begin_document is False


@pytest.mark.parametrize("name", ["model.gguf", "folder"])
def test_what_is_exported_is_on_disk(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed, fsync = set[int](), os.fsync

    def flush(descriptor: int) -> None:
        flushed.add(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", flush)
    kind = "gguf" if name.endswith("gguf") else "huggingface"
    export_run(as_run(ByteTokenizer()), path := tmp_path / name, kind)
    files = [path] if path.is_file() else list(path.iterdir())
    assert {file.stat().st_ino for file in (tmp_path, *files)} <= flushed


def test_a_file_is_what_its_dtype_says(tmp_path: Path) -> None:
    """Norms stay in float32; rows that are no whole blocks of 32 are in float16."""
    run = as_run(ByteTokenizer(), d_model=48, d_ff=64, scale_embeddings=False)
    formats = {
        name: place.format.name for name, place in GgufFile(exported(tmp_path / "a", run, "q8_0")).tensors.items()
    }
    assert formats["blk.0.ffn_down.weight"] == "Q8_0"
    assert formats["blk.0.attn_q.weight"] == formats["token_embd.weight"] == "F16"
    assert formats["output_norm.weight"] == formats["blk.1.attn_k_norm.weight"] == "F32"
    assert "output.weight" not in formats
    values = GgufFile(tmp_path / "a").values
    assert values["general.architecture"] == "qwen3"
    assert (values["qwen3.attention.key_length"], values["general.file_type"]) == (12, 7)


def test_the_name_of_the_output_tells_the_format(run: Path, tmp_path: Path) -> None:
    assert minigpt("export", run, "--output", "model.gguf", cwd=tmp_path).returncode == 0
    assert (tmp_path / "model.gguf").read_bytes().startswith(b"GGUF")


def test_a_number_that_float16_does_not_hold_is_told(tmp_path: Path) -> None:
    run = as_run(ByteTokenizer())
    torch.nn.init.constant_(run.model.blocks[0].feed_forward.up_proj.weight, 1e6)
    with pytest.raises(UserError, match=r"blk.0.ffn_up.weight: .* too large for f16; export with --dtype f32"):
        exported(tmp_path / "model.gguf", run, "f16")
    assert not list(tmp_path.iterdir())


def test_begin_of_text_is_as_the_run_says(tmp_path: Path) -> None:
    run = as_run(ByteTokenizer(), {"begin_document": True})
    path = exported(tmp_path / "model.gguf", run)
    assert read_gguf(path).begins_documents
    assert GgufFile(path).values["tokenizer.ggml.bos_token_id"] == 256


def test_a_model_without_family_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model\.norm = layernorm"):
        exported(tmp_path / "model.gguf", as_run(ByteTokenizer(), norm="layernorm"))


def test_without_the_package_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = exported(tmp_path / "model.gguf", as_run(ByteTokenizer()))
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(UserError, match=r"pip install 'minigpt\[interop\]'"):
        read_gguf(path)


def test_qwen2_has_biases_of_queries_keys_and_values_only(tmp_path: Path) -> None:
    """Written by hand as llama.cpp's converters do, which leave out what has a usual value."""
    model = random_model(qk_norm=False, bias=True, n_kv_heads=2, scale_embeddings=False, rope_theta=5e5)
    absent = ("o_proj.bias", "gate_proj.bias", "up_proj.bias", "down_proj.bias", "lm_head.weight")
    weights = model.state_dict()
    for name in weights:
        if name.endswith(absent[:4]):
            weights[name].zero_()
    settings = {
        "context_length": 16,
        "embedding_length": 32,
        "block_count": 2,
        "feed_forward_length": model.config.d_ff,
        "attention.head_count": 4,
        "attention.head_count_kv": 2,
        "attention.layer_norm_rms_epsilon": 1e-5,
        "rope.freq_base": 5e5,
    }
    values = {
        "general.architecture": "qwen2",
        **{f"qwen2.{key}": value for key, value in settings.items()},
        **TOKENIZER,
    }
    tensors = {their_name(name): float32(weight) for name, weight in weights.items() if not name.endswith(absent)}
    (tmp_path / "model.gguf").write_bytes(gguf_bytes(values, tensors))
    again = load_run(write_run(read_gguf(tmp_path / "model.gguf"), tmp_path / "run").path)
    assert torch.equal(logits(again.model), logits(model))


def test_the_order_of_llamas_rows() -> None:
    """Numbers that turn together stand side by side there, and half a head apart here."""
    rows = torch.arange(12)
    assert interleaved(rows, 6).tolist() == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]
    assert torch.equal(halved(interleaved(rows, 6), 6), rows)


def read_tensor(path: Path, shape: tuple[int, ...], kind: str, content: bytes) -> np.ndarray:
    number = int(gguf.GGMLQuantizationType[kind])
    path.write_bytes(gguf_bytes({}, {"before": ((3,), 0, bytes(12)), "tensor": (shape, number, content)}))
    return GgufFile(path).tensor("tensor").numpy()


@pytest.mark.parametrize(
    ("kind", "error"),
    [("F32", 0), ("F16", 3e-4), ("BF16", 0.002), ("Q8_0", 0.0042), ("Q5_1", 0.033), ("Q4_0", 0.13), ("Q4_1", 0.067)],
)
def test_numbers_of_few_bits_are_near(kind: str, error: float, tmp_path: Path) -> None:
    numbers = np.random.default_rng(0).uniform(-1, 1, (3, 64)).astype(np.float32)
    packed = gguf.quants.quantize(numbers, gguf.GGMLQuantizationType[kind])
    assert np.abs(read_tensor(tmp_path / "file", (3, 64), kind, packed.tobytes()) - numbers).max() <= error


def test_blocks_of_4_bits_with_scales_of_6(tmp_path: Path) -> None:
    """Q4_K by hand: scale and minimum in float16, 8 scales and minima in 12 bytes, then 4 bits for each of 256."""
    numbers = np.random.default_rng(0).integers(0, 16, (4, 2, 32), dtype=np.uint8)
    scales = bytes([1] * 4 + [2] * 4 + [0x21] * 4)  # scales 1 everywhere, minima 2
    half, quarter = np.float16(0.5).tobytes(), np.float16(0.25).tobytes()
    content = half + quarter + scales + (numbers[:, 0] | numbers[:, 1] << 4).tobytes()
    found = read_tensor(tmp_path / "file", (1, 256), "Q4_K", content)
    assert np.array_equal(found, numbers.reshape(1, 256) * np.float32(0.5) - 0.5)


def test_blocks_of_6_bits(tmp_path: Path) -> None:
    """Q6_K by hand: the low 4 bits of 256 numbers, their high 2 bits, 16 scales in int8, one in float16."""
    numbers = np.random.default_rng(0).integers(0, 64, (2, 4, 32), dtype=np.uint8)
    low, high = numbers & 15, numbers >> 4
    lows = np.concatenate([low[:, :2] | low[:, 2:] << 4], axis=1)
    highs = high[:, 0] | high[:, 1] << 2 | high[:, 2] << 4 | high[:, 3] << 6
    content = lows.tobytes() + highs.tobytes() + bytes([3] * 16) + np.float16(0.5).tobytes()
    found = read_tensor(tmp_path / "file", (1, 256), "Q6_K", content)
    assert np.array_equal(found, (numbers.reshape(1, 256).astype(np.float32) - 32) * 1.5)
