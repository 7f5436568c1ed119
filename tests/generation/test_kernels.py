"""The compiled loops beside the same in torch's operations."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from conftest import random_model
from torch import Tensor

from minigpt.config import SamplingConfig
from minigpt.generation import kernels
from minigpt.generation.generate import generate
from minigpt.generation.kernels import HEAD_SIZES, Before, Int8Matrix
from minigpt.generation.packed import PREPARE, PackedBlock, pack
from minigpt.model.cache import Cache, LayerCache
from minigpt.model.norm import EPSILON

pytestmark = pytest.mark.skipif(kernels.load() is None, reason="needs AVX-512 VNNI and g++")


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("n", [1, 2, 5, 8, 31])
@pytest.mark.parametrize("width", [4, 30, 384])
@pytest.mark.parametrize("before", Before)
def test_a_product_is_that_of_the_rounded_numbers(before: Before, width: int, n: int) -> None:
    x, weight, bias, onto = (
        noise(n, 2 * width if before == Before.SWIGLU else width),
        noise(35, width),
        noise(35),
        noise(n, 35),
    )
    prepared = PREPARE[before](x)
    steps, scales = (numbers.abs().amax(1, keepdim=True) / 127 for numbers in (prepared, weight))
    expected = (prepared / steps).round() * steps @ ((weight / scales).round() * scales).T + bias
    y = Int8Matrix(weight, bias)(x, before)
    # A number in the middle between two integers may be rounded to either.
    torch.testing.assert_close(y, expected, rtol=0, atol=1.01 * (steps.max() * weight.abs().max()).item())
    assert ((y - expected).norm() / expected.norm()).item() < 1e-3
    added = Int8Matrix(weight, bias)(x, before, onto.clone())
    torch.testing.assert_close(added, y + onto)


def test_large_and_small_vectors_keep_their_size() -> None:
    x = noise(1, 64) * torch.tensor([1e-6, 1.0, 1e6])[:, None]
    weight = noise(16, 64)
    y = Int8Matrix(weight, None)(x, Before.NOTHING)
    torch.testing.assert_close(y, y[1] * torch.tensor([1e-6, 1.0, 1e6])[:, None])
    assert torch.equal(Int8Matrix(weight, None)(torch.zeros(1, 64), Before.NOTHING), torch.zeros(1, 16))
    normed = Int8Matrix(weight, None)(x, Before.RMS_NORM)
    torch.testing.assert_close(normed[1], normed[2], rtol=1e-4, atol=1e-4)
    small = (1e-12 * x[1].square().mean() / (1e-12 * x[1].square().mean() + EPSILON)).sqrt()
    torch.testing.assert_close(normed[0], normed[1] * small, rtol=1e-4, atol=1e-4)


def rounded(heads: Tensor) -> Tensor:
    """Multiples of a 127th of the largest number of each head."""
    steps = heads.abs().amax(-1, keepdim=True) / 127
    return (heads / steps).round() * steps


@pytest.mark.parametrize("d_head", HEAD_SIZES)
@pytest.mark.parametrize(
    ("n_kv_heads", "qk_norm", "position"), [(4, True, "rope"), (2, False, "rope"), (1, True, "learned")]
)
def test_attention_of_one_new_token_is_that_of_the_rounded_numbers(
    d_head: int, n_kv_heads: int, qk_norm: bool, position: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = random_model(d_head=d_head, n_kv_heads=n_kv_heads, qk_norm=qk_norm, position=position, context_length=40)
    loops, torchs = (PackedBlock(model.blocks[0], dtype) for dtype in (torch.int8, torch.float32))  # type: ignore[arg-type]
    assert loops.compiled
    assert not torchs.compiled
    attention = F.scaled_dot_product_attention
    monkeypatch.setattr(
        F, "scaled_dot_product_attention", lambda *qkv, **options: attention(*map(rounded, qkv), **options)
    )
    kept, exact = LayerCache(40), LayerCache(40)
    for block, cache in ((loops, kept), (torchs, exact)):
        block.attention(noise(3, 7, (4 + 2 * n_kv_heads) * d_head), None, cache)
    for place in range(7, 40):
        heads = noise(3, 1, (4 + 2 * n_kv_heads) * d_head, seed=place)
        rotation = model.rotary(place, place + 1) if model.rotary else None
        with torch.no_grad():
            expected = torchs.attention(heads.clone(), rotation, exact)
            mixed = kernels.attend(heads, loops.gains, rotation, kept, 4)
        # A number in the middle between two integers may be rounded to either.
        torch.testing.assert_close(mixed, expected, rtol=0, atol=0.02)
        assert ((mixed - expected).norm() / expected.norm()).item() < 2e-3


def test_many_places_that_count_little_are_not_lost() -> None:
    model = random_model(d_head=16, context_length=1024, qk_norm=False, position="learned")
    block, cache = PackedBlock(model.blocks[0], torch.int8), LayerCache(1024)  # type: ignore[arg-type]
    query, key = torch.zeros(2, 12 * 16)
    query[: 4 * 16 : 16], key[4 * 16 : 8 * 16 : 16] = 4.0, 6.0  # the first place counts e^6 times as much as another
    values = noise(1000, 4 * 16)
    heads = torch.zeros(1, 1000, 12 * 16)
    heads[0, :, 8 * 16 :] = values
    heads[0, 0] += key
    with torch.no_grad():
        block.attention(heads[:, :999], None, cache)
        mixed = kernels.attend(heads[:, 999:] + query, None, None, cache, 4)
    weights = torch.cat([torch.tensor([6.0]), torch.zeros(999)]).softmax(0)
    torch.testing.assert_close(mixed[0, 0], weights @ values, rtol=0, atol=0.01)


def test_a_text_is_the_same_whatever_is_written_beside_it() -> None:
    model = pack(random_model(d_head=16), torch.int8)
    tokens = torch.randint(50, (11, 16), generator=torch.Generator().manual_seed(0))

    def logits(tokens: Tensor) -> Tensor:
        cache = Cache(model.config)
        return torch.cat([model(tokens[:, i : i + 1], cache) for i in range(16)], 1)

    with torch.inference_mode():
        together = logits(tokens)
        for row in (0, 5, 10):
            assert torch.equal(logits(tokens[row : row + 1])[0], together[row])


def test_texts_that_begin_as_one_and_outgrow_the_context_are_as_if_written_alone() -> None:
    model = pack(random_model(d_head=16, context_length=24), torch.int8)
    config = SamplingConfig(temperature=0, max_new_tokens=60)

    def logits(n_samples: int) -> Tensor:
        steps = generate(model, [1, 2, 3], config, end_of_text=-1, seed=0, n_samples=n_samples)
        return torch.stack([step.logits for step in steps], 1)

    assert torch.equal(logits(3), logits(1).expand(3, -1, -1))


def test_the_loops_are_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    kernels.load.cache_clear()
    assert kernels.load() is not None
    assert len(list((tmp_path / "minigpt").iterdir())) == 1
    monkeypatch.setenv("PATH", "")  # no compiler any more
    kernels.load.cache_clear()
    assert kernels.load() is not None
    kernels.load.cache_clear()
