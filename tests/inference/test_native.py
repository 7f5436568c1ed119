"""Inference in int8 beside the same arithmetic in torch's operations."""

import math
from itertools import cycle
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from conftest import ARCHITECTURES, SHAPE, random_model
from torch import Tensor

from minigpt.config.hyperparameters import ModelConfig, SamplingConfig
from minigpt.generation.generate import generate
from minigpt.inference import compiled, native, packed
from minigpt.inference.native import Int8GPT
from minigpt.model.cache import KVCache
from minigpt.model.gpt import GPT

pytestmark = pytest.mark.skipif(compiled.load() is None, reason="needs a C++ compiler")


def use(instruction_set: str, monkeypatch: pytest.MonkeyPatch) -> None:
    library = compiled.load_for(instruction_set, compiled.find_compiler() or ())
    assert library is not None
    monkeypatch.setattr(native, "load", lambda: library)


@pytest.fixture(autouse=True, params=compiled.available())
def instruction_set(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each that the processor has, in turn."""
    use(request.param, monkeypatch)
    return request.param


def tokens(n_texts: int, n_tokens: int, vocab_size: int = 50) -> Tensor:
    return torch.randint(vocab_size, (n_texts, n_tokens), generator=torch.Generator().manual_seed(0))


def token_by_token(model: GPT | Int8GPT, token_ids: Tensor, n_at_once: int = 1) -> Tensor:
    """Logits (B T V) of all but the first `n_at_once - 1` tokens, which are read together with the next one."""
    cache = KVCache(model.config)
    parts = token_ids.split([n_at_once, *[1] * (token_ids.shape[1] - n_at_once)], 1)
    return torch.stack([model.next_logits(part, cache) for part in parts], 1)


def rounded(x: Tensor) -> Tensor:
    """Multiples of a 127th of the largest number of each vector (last axis)."""
    steps = x.abs().amax(-1, keepdim=True).clamp(min=1e-30) / 127
    return (x / steps).round() * steps


@pytest.fixture
def round_like_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    """What float32 models packed for inference multiply is rounded as int8 rounds it."""

    def matmul(self: packed.PackedLinear, x: Tensor) -> Tensor:
        return F.linear(rounded(self.prepare(x)), rounded(self.weight), self.bias)

    attention = F.scaled_dot_product_attention
    monkeypatch.setattr(packed.PackedLinear, "forward", matmul)
    monkeypatch.setattr(
        F, "scaled_dot_product_attention", lambda *qkv, **options: attention(*map(rounded, qkv), **options)
    )


@torch.no_grad()
def assert_arithmetic_is_that_of_rounded_numbers(model: GPT, token_ids: Tensor, n_at_once: int) -> None:
    written, expected = (
        token_by_token(way, token_ids, n_at_once)
        for way in (Int8GPT(model), packed.with_packed_blocks(model, torch.float32))
    )
    # A number in the middle between two integers may be rounded to either.
    assert ((written - expected).norm(dim=-1) - 2e-3 * expected.norm(dim=-1)).median() <= 0
    torch.testing.assert_close(written, expected, rtol=0, atol=0.05 * expected.abs().max().item())


@pytest.mark.usefixtures("round_like_int8")
@pytest.mark.parametrize(
    ("instruction_set", "options"),
    list(zip(cycle(compiled.available()), ARCHITECTURES)),
    indirect=["instruction_set"],
    ids=str,
)
def test_every_architecture_is_that_of_the_rounded_numbers(options: dict[str, Any]) -> None:
    model = random_model(**options, n_layers=1, context_length=40)
    assert_arithmetic_is_that_of_rounded_numbers(model, tokens(3, 40), 33)


@pytest.mark.usefixtures("round_like_int8")
@pytest.mark.parametrize("d_head", [1, 2, 6, 10, 16, 17, 32, 40, 48, 64, 80, 96, 100, 112, 126, 128])
def test_heads_of_every_size(d_head: int) -> None:
    positions = "learned" if d_head % 2 else "rope"
    model = random_model(d_head=d_head, n_kv_heads=2, position=positions, bias=True, n_layers=1, context_length=20)
    attention = model.blocks[0].attention
    with torch.no_grad():
        for parameter in (*attention.q_proj.parameters(), *attention.k_proj.parameters()):
            parameter.mul_(0.01)  # so that their norms' epsilon counts
    assert_arithmetic_is_that_of_rounded_numbers(model, tokens(2, 20), 3)


@pytest.mark.usefixtures("round_like_int8")
@pytest.mark.parametrize("n_texts", [1, 2, 5, 8, 31])
@pytest.mark.parametrize(("d_model", "d_ff", "vocab_size"), [(4, 3, 2), (30, 70, 33), (384, 1024, 200)])
def test_texts_and_widths_of_every_number(d_model: int, d_ff: int, vocab_size: int, n_texts: int) -> None:
    model = random_model(d_model=d_model, d_ff=d_ff, vocab_size=vocab_size, d_head=16, n_layers=1)
    assert_arithmetic_is_that_of_rounded_numbers(model, tokens(n_texts, 8, vocab_size), 1)


@pytest.mark.usefixtures("round_like_int8")
@pytest.mark.parametrize("norm", ["rmsnorm", "layernorm"])
@pytest.mark.parametrize("size", [0, 1e-6, 1e-3, 1e6])
def test_large_and_small_vectors_keep_their_size(norm: str, size: float) -> None:
    model = random_model(norm=norm, tie_embeddings=False, scale_embeddings=False)
    with torch.no_grad():
        model.token_embedding.weight.mul_(size)
        for block in model.blocks:  # whose own vectors are not to be larger
            for matrix in (block.attention.o_proj, block.feed_forward.down_proj):
                matrix.weight.mul_(size)
    assert_arithmetic_is_that_of_rounded_numbers(model, tokens(3, 8), 4)


@pytest.mark.usefixtures("round_like_int8")
def test_many_places_that_count_little_are_not_lost() -> None:
    model = random_model(qk_norm=False, position="learned", bias=True, n_layers=1, d_head=16, context_length=1024)
    attention = model.blocks[0].attention
    with torch.no_grad():
        model.token_embedding.weight[:, -1] = 0
        model.position_embedding.weight.zero_()  # type: ignore[union-attr]
        model.position_embedding.weight[0, -1] = 10.0  # type: ignore[union-attr]
        for layer in (attention.q_proj, attention.k_proj):
            layer.weight.zero_()
            layer.bias.zero_()
        attention.q_proj.bias[::16] = 4.0
        x = model.token_embedding.weight[3] * model.embedding_scale + model.position_embedding.weight[0]  # type: ignore[union-attr]
        marked = model.blocks[0].attention_norm(x)[-1]
        attention.k_proj.weight[::16, -1] = 6 / marked  # the first place counts e^6 times as much as another
    text = tokens(1, 1000)
    text[0, 0] = 3
    assert_arithmetic_is_that_of_rounded_numbers(model, text, 998)


@pytest.mark.parametrize(
    "shape", [{"d_head": 48, "norm": "layernorm", "feed_forward": "gelu"}, {"d_model": 200}], ids=str
)
def test_every_instruction_set_gives_the_same_bits(
    shape: dict[str, Any], instruction_set: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, text = random_model(**shape, n_kv_heads=2, context_length=300), tokens(11, 290)
    logits = token_by_token(Int8GPT(model), text, 280)
    use("plain", monkeypatch)
    assert torch.equal(token_by_token(Int8GPT(model), text, 280), logits)


def test_a_prompt_at_once_is_the_same_as_token_by_token() -> None:
    model = Int8GPT(random_model(n_kv_heads=2, context_length=40))
    text = tokens(3, 40)
    one_by_one = token_by_token(model, text)
    for n_at_once in (2, 16, 17, 39):
        assert torch.equal(token_by_token(model, text, n_at_once), one_by_one[:, n_at_once - 1 :])


def test_a_text_is_the_same_whatever_is_written_beside_it() -> None:
    model = Int8GPT(random_model())
    texts = tokens(11, 16)
    together = token_by_token(model, texts)
    for row in (0, 5, 10):
        assert torch.equal(token_by_token(model, texts[row : row + 1])[0], together[row])


def test_texts_that_begin_as_one_and_outgrow_the_context_are_as_if_written_alone() -> None:
    model = Int8GPT(random_model(context_length=24))
    config = SamplingConfig(temperature=0, max_new_tokens=60)

    def logits(n_samples: int) -> Tensor:
        steps = generate(model, [1, 2, 3], config, end_of_text=-1, seed=0, n_samples=n_samples)
        return torch.stack([step.logits for step in steps], 1)

    assert torch.equal(logits(3), logits(1).expand(3, -1, -1))


def test_prompts_longer_than_the_context_go_on_as_if_each_were_alone() -> None:
    model, prompts = Int8GPT(random_model(context_length=24)), tokens(3, 40)
    config = SamplingConfig(temperature=0, max_new_tokens=40)

    def written(prompt: Tensor) -> Tensor:
        return torch.stack([step.logits for step in generate(model, prompt, config, end_of_text=-1, seed=0)], 1)

    assert torch.equal(written(prompts), torch.cat([written(prompt) for prompt in prompts]))


def test_samples_of_one_prompt_part_after_it() -> None:
    model, config = Int8GPT(random_model(context_length=24)), SamplingConfig(max_new_tokens=12)
    prompt = tokens(1, 5)
    steps = list(generate(model, prompt[0], config, end_of_text=-1, seed=0, n_samples=4))
    texts = torch.cat([prompt.expand(4, -1), torch.stack([step.token_ids for step in steps], 1)], 1)
    assert len({tuple(text) for text in texts.tolist()}) == 4
    logits = torch.stack([step.logits for step in steps], 1)
    assert torch.equal(logits, token_by_token(model, texts[:, :-1], 5))


def test_token_ids_of_four_bytes_are_the_same_tokens() -> None:
    model, text = Int8GPT(random_model()), tokens(2, 16)
    assert torch.equal(token_by_token(model, text.int()), token_by_token(model, text))


def test_a_model_with_a_number_that_is_none_gives_none() -> None:
    model = random_model(n_layers=1)
    with torch.no_grad():
        model.blocks[0].feed_forward.up_proj.weight[3, 5] = math.nan
    assert token_by_token(Int8GPT(model), tokens(2, 8)).isnan().all()


def test_a_model_may_change_after_it_was_packed() -> None:
    model = random_model(tie_embeddings=False)
    packed_model, text = Int8GPT(model), tokens(1, 16)
    before = token_by_token(packed_model, text)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter is not model.token_embedding.weight:
                parameter.zero_()
    assert torch.equal(token_by_token(packed_model, text), before)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ({"d_head": 128, "d_ff": 65_536}, torch.int8),
        ({"d_head": 130}, torch.bfloat16),
        ({"d_ff": 65_537}, torch.bfloat16),
        ({"context_length": 65_537}, torch.int8),
    ],
)
def test_what_does_not_fit_is_packed_in_bfloat16(shape: dict[str, int], dtype: torch.dtype) -> None:
    config = ModelConfig(**{**SHAPE, **shape})
    assert packed.inference_dtype(config, "int8", torch.bfloat16, torch.device("cpu")) == dtype


def test_nothing_is_compiled_for_who_wants_none_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "load", lambda: pytest.fail("compiled"))
    config, cpu = random_model().config, torch.device("cpu")
    assert packed.inference_dtype(config, "float32", torch.bfloat16, cpu) == torch.float32
    assert packed.inference_dtype(config, "bfloat16", torch.float32, cpu) == torch.bfloat16
    assert packed.inference_dtype(config, "int8", torch.float16, torch.device("cuda")) == torch.float16
