"""The real llama.cpp: the same tokens, the same logits, the same text.

It comes with node-llama-cpp, which .ci/run installs; MINIGPT_NODE_NODE_MODULES names another folder that has it.
"""

import json
import random
import shutil
import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import NODE_MODULES
from gguf_writing import as_run, exported
from test_gguf_tokenizer import STORIES, TOKENIZERS, texts

from minigpt.config.hyperparameters import SamplingConfig
from minigpt.data import stories
from minigpt.generation.generate import generate
from minigpt.runs import Run
from minigpt.tokenizers import Tokenizer, build_tokenizer

pytestmark = pytest.mark.skipif(
    shutil.which("node") is None or not (NODE_MODULES / "node-llama-cpp").is_dir(),
    reason=f"llama.cpp is not there: npm install --ignore-scripts --prefix {NODE_MODULES.parent} node-llama-cpp",
)
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen3": ("word", {"n_kv_heads": 2}),
    "llama": ("bpe", {"qk_norm": False, "n_kv_heads": 2, "d_head": 16, "rope_theta": 500.0}),
    "llama with biases": ("character", {"qk_norm": False, "bias": True, "tie_embeddings": False}),
    "gpt2": (
        "bpe",
        {"position": "learned", "norm": "layernorm", "feed_forward": "gelu", "qk_norm": False, "n_heads": 2},
    ),
}
TOLERANCE = {"f32": 1e-5, "f16": 0.003, "q8_0": 0.12}
"""Of logits, as a share of their standard deviation."""
GELU = 0.001
"""The same for GPT-2: llama.cpp looks its GELU up in a table in float16."""
STEPS = 200


@cache
def tokenizer(kind: str) -> Tokenizer:
    return build_tokenizer(kind, 700, STORIES)


@cache
def words() -> Tokenizer:
    return build_tokenizer("word", 4096, stories.generate(1000, 0))


def known_texts() -> list[str]:
    """Stories that the tokenizer has not seen, and words in any order, unknown ones among them."""
    choose = random.Random(4)
    vocabulary = [word for word in words().decode_bytes(range(256, 1256)).decode().split() if word.isalpha()]
    lines = (choose.choices([*vocabulary, "zyzzyva", "x"], k=12) for _ in range(50))
    return [*stories.generate(1100, 0, 1000), *(" ".join(line) for line in lines)]


KINDS: dict[str, tuple[Callable[[], Tokenizer], Callable[[], list[str]]]] = {
    **{kind: (made, texts) for kind, made in TOKENIZERS.items() if kind != "like gpt-4o"},
    "word": (words, known_texts),
    "character": (lambda: tokenizer("character"), lambda: STORIES),
}
"""Tokenizers with the texts that llama.cpp cuts as we do."""


@cache
def run(model: str) -> Run:
    kind, shape = MODELS[model]
    return as_run(tokenizer(kind), context_length=256, **shape)


def prompt(model: str) -> list[int]:
    ids: list[int] = run(model).tokenizer.encode(STORIES[0][:40]).tolist()
    return ids


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, dict[str, Any]]:
    """What llama.cpp makes of every file: by model and dtype, or by kind of tokenizer."""
    folder, jobs = tmp_path_factory.mktemp("llama"), {}
    for name in MODELS:
        for dtype in TOLERANCE:
            path = exported(folder / f"{name}-{dtype}.gguf", run(name), dtype)
            jobs[name, dtype] = {"model": str(path), "prompt": prompt(name), "steps": STEPS if dtype == "f32" else 1}
    for kind, (made, given) in KINDS.items():
        jobs[kind] = {"model": str(exported(folder / f"{kind}.gguf", as_run(made()))), "texts": given()}
    request = json.dumps({"modules": str(NODE_MODULES), "jobs": list(jobs.values())})
    script = Path(__file__).with_name("llama.mjs")
    done = subprocess.run(["node", script], input=request, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return dict(zip(jobs, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_tokens(kind: str, llama: dict[Any, dict[str, Any]]) -> None:
    """What looks like a special token in a text is text."""
    made, given = (make() for make in KINDS[kind])
    for text, ids in zip(given, llama[kind]["ids"], strict=True):
        assert ids == made.encode(text).tolist(), text


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", MODELS)
def test_the_same_logits(name: str, dtype: str, llama: dict[Any, dict[str, Any]]) -> None:
    with torch.no_grad():
        expected = run(name).model(torch.tensor([prompt(name)]))[0, -1]
    difference = torch.tensor(llama[name, dtype]["logits"]) - expected
    assert difference.square().mean().sqrt() <= max(TOLERANCE[dtype], GELU * (name == "gpt2")) * expected.std()


@pytest.mark.parametrize("name", MODELS)
def test_the_same_text(name: str, llama: dict[Any, dict[str, Any]]) -> None:
    """The likeliest token, two hundred times."""
    greedy = SamplingConfig(temperature=0, max_new_tokens=STEPS)
    steps = generate(run(name).model, prompt(name), greedy, end_of_text=-1, seed=0)
    assert llama[name, "f32"]["continuation"] == [int(step.token_ids) for step in steps]
