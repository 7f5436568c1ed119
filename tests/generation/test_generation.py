import math

import pytest
import torch

from minigpt.config.hyperparameters import ModelConfig, SamplingConfig
from minigpt.generation.generate import generate
from minigpt.generation.sampling import (
    draw,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    most_probable,
    next_token_probabilities,
)
from minigpt.generation.text import TextStream
from minigpt.inference.arrays import ArrayGPT
from minigpt.model.gpt import GPT

LOGITS = torch.tensor([[2.0, 1.0, 0.0, -1.0]])
NOTHING_SEEN = torch.zeros(1, 4, dtype=torch.bool)
END = 49


@pytest.fixture(scope="module")
def model() -> GPT:
    model = GPT(ModelConfig(vocab_size=50, context_length=16, n_layers=2, n_heads=2, d_model=16)).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.4, generator=generator)
    return model


def tokens(model: GPT, prompt: list[int], seed: int = 0, **settings: float) -> list[int]:
    config = SamplingConfig(**{"max_new_tokens": 10, "temperature": 0, **settings})  # type: ignore[arg-type]
    return [int(step.token_ids) for step in generate(model, prompt, config, end_of_text=END, seed=seed)]


def test_greedy_text_is_the_argmax_of_the_full_forward_pass(model: GPT) -> None:
    text = [3, 7]
    for token in tokens(model, [3, 7]):
        with torch.no_grad():
            assert token == int(model(torch.tensor([text]))[0, -1].argmax())
        text.append(token)


@pytest.mark.parametrize("prompts", [[[3]], [[3, 7]] * 3, [[3, 7], [4, 1]], [[*range(20)], [*range(20, 40)]]], ids=len)
def test_a_packed_model_writes_the_same_texts_beyond_the_context_too(model: GPT, prompts: list[list[int]]) -> None:
    settings = SamplingConfig(max_new_tokens=30, temperature=1)
    exact, packed = (
        [step.token_ids.tolist() for step in generate(one, torch.tensor(prompts), settings, end_of_text=-1, seed=0)]
        for one in (model, ArrayGPT(model, torch.float32))
    )
    assert exact == packed


def test_several_prompts_are_continued_each_as_if_alone(model: GPT) -> None:
    greedy = SamplingConfig(max_new_tokens=10, temperature=0)
    steps = list(generate(model, torch.tensor([[3, 7], [4, 1]]), greedy, end_of_text=-1, seed=0))
    together = torch.stack([step.token_ids for step in steps], 1).tolist()
    alone = [
        [int(step.token_ids) for step in generate(model, prompt, greedy, end_of_text=-1, seed=0)]
        for prompt in ([3, 7], [4, 1])
    ]
    assert together == alone


def test_what_all_texts_begin_with_is_read_once(model: GPT) -> None:
    read: list[int] = []
    handle = model.token_embedding.register_forward_hook(lambda _, inputs, __: read.append(inputs[0].numel()))
    config = SamplingConfig(max_new_tokens=14, temperature=0.8)
    together = list(generate(model, [3, 7, 1], config, end_of_text=END, seed=0, n_samples=4))
    handle.remove()
    assert read[:3] == [3, 4, 4]
    assert together[0].logits.shape == (4, 50)
    for row in range(4):
        text = [3, 7, 1]
        for step in together[:13]:
            with torch.no_grad():
                torch.testing.assert_close(step.logits[row], model(torch.tensor([text]))[0, -1], rtol=1e-4, atol=1e-4)
            text.append(int(step.token_ids[row]))


def test_a_text_longer_than_the_context_goes_on_from_its_last_half(model: GPT) -> None:
    text = list(range(1, 15))
    for token in tokens(model, text, max_new_tokens=8):
        n_seen = len(text) if len(text) <= 16 else 8 + (len(text) - 17) % 9
        with torch.no_grad():
            assert token == int(model(torch.tensor([text[-n_seen:]]))[0, -1].argmax())
        text.append(token)


def test_a_prompt_longer_than_the_context_is_cut_to_its_end(model: GPT) -> None:
    prompt = [i % 40 for i in range(40)]
    assert tokens(model, prompt, max_new_tokens=1) == tokens(model, prompt[-16:], max_new_tokens=1)


def test_the_same_seed_gives_the_same_text_and_another_seed_another(model: GPT) -> None:
    first, same, other = (tokens(model, [1], seed, temperature=1.5, max_new_tokens=30) for seed in (1, 1, 2))
    assert first == same
    assert first != other


def test_samples_of_one_batch_end_each_for_itself(model: GPT) -> None:
    config = SamplingConfig(max_new_tokens=200, temperature=3)
    steps = list(generate(model, [1], config, end_of_text=END, seed=0, n_samples=5))
    rows = torch.stack([step.token_ids for step in steps], 1).tolist()
    assert len({row.index(END) for row in rows if END in row}) > 1
    for row in rows:
        if END in row:
            assert set(row[row.index(END) :]) == {END}


def test_temperature_divides_logits() -> None:
    probabilities = next_token_probabilities(LOGITS, NOTHING_SEEN, SamplingConfig(temperature=0.5))
    torch.testing.assert_close(probabilities, (LOGITS * 2).softmax(-1))


@pytest.mark.parametrize("temperature", [0, 1e-300, 1e-42, 1e-6])
def test_temperature_zero_or_nearly_takes_the_most_probable_token(temperature: float) -> None:
    probabilities = next_token_probabilities(LOGITS, NOTHING_SEEN, SamplingConfig(temperature=temperature))
    assert probabilities.tolist() == [[1, 0, 0, 0]]


@pytest.mark.parametrize(("k", "kept"), [(1, 1), (3, 3), (99, 4)])
def test_top_k_keeps_k_tokens(k: int, kept: int) -> None:
    assert int(keep_top_k(LOGITS, k).isfinite().sum()) == kept


@pytest.mark.parametrize(("p", "kept"), [(1e-300, 1), (0.01, 1), (0.64, 1), (0.65, 2), (0.88, 2), (0.89, 3), (1.0, 4)])
def test_top_p_keeps_the_smallest_set_that_reaches_p(p: float, kept: int) -> None:
    """The probabilities are 0.644, 0.237, 0.087 and 0.032."""
    assert int(keep_top_p(LOGITS, p).isfinite().sum()) == kept


def test_top_p_looks_only_at_what_top_k_has_kept() -> None:
    config = SamplingConfig(temperature=1, top_k=2, top_p=0.7)  # of the two, the first has 0.731
    assert next_token_probabilities(LOGITS, NOTHING_SEEN, config).tolist() == [[1, 0, 0, 0]]


@pytest.mark.parametrize(("p", "kept"), [(1.0, 1), (0.36, 2), (0.38, 1), (0.13, 3), (0.0, 4)])
def test_min_p_keeps_tokens_in_proportion_to_the_best(p: float, kept: int) -> None:
    assert int(keep_min_p(LOGITS, p).isfinite().sum()) == kept
    assert math.exp(-1) == pytest.approx(0.368, abs=1e-3)


def test_the_repetition_penalty_touches_only_seen_tokens() -> None:
    seen = torch.tensor([[True, False, False, True]])
    probabilities = next_token_probabilities(LOGITS, seen, SamplingConfig(repetition_penalty=2, temperature=1))
    torch.testing.assert_close(probabilities, torch.tensor([[1.0, 1.0, 0.0, -2.0]]).softmax(-1))


def test_tokens_are_drawn_as_often_as_they_are_probable() -> None:
    probabilities = torch.tensor([0.1, 0.2, 0.7]).repeat(20_000, 1)
    counts = draw(probabilities, torch.Generator().manual_seed(0)).bincount()
    torch.testing.assert_close(counts / 20_000, probabilities[0], atol=0.015, rtol=0)


def test_tokens_of_a_large_vocabulary_too() -> None:
    probabilities = torch.zeros(2000, 50_257)
    chosen, shares = [0, 1023, 1024, 30_000, 50_256], torch.tensor([0.1, 0.2, 0.3, 0.15, 0.25])
    probabilities[:, chosen] = shares
    counts = draw(probabilities, torch.Generator().manual_seed(0)).bincount(minlength=50_257)
    assert counts.nonzero()[:, 0].tolist() == chosen
    torch.testing.assert_close(counts[chosen] / 2000, shares, atol=0.04, rtol=0)


@pytest.mark.parametrize("n_tokens", [5, 1024, 1025, 3000])
def test_the_most_probable_token_is_the_first_of_the_largest(n_tokens: int) -> None:
    logits = torch.randint(-9, 3, (40, n_tokens), generator=torch.Generator().manual_seed(0)).float()
    logits[0] = -math.inf
    logits[1] = -5.0
    logits[2, -1] = 5.0
    first = [int((row == row.max()).nonzero()[0]) for row in logits]
    assert most_probable(logits).tolist() == first
    assert (most_probable(torch.full((2, n_tokens), math.nan)) < n_tokens).all()


@pytest.mark.parametrize("n_tokens", [3, 50_257])
def test_what_is_drawn_is_a_token_even_where_a_broken_model_gives_no_probabilities(n_tokens: int) -> None:
    token_ids = draw(torch.full((2, n_tokens), math.nan), torch.Generator().manual_seed(0))
    assert ((token_ids >= 0) & (token_ids < n_tokens)).all()


def test_half_a_character_is_held_back_until_it_is_whole() -> None:
    stream = TextStream()
    assert [stream.feed(bytes([byte])) for byte in "aé€😀".encode()] == ["a", "", "é", "", "", "€", "", "", "", "😀"]


def test_bytes_that_never_become_a_character_are_replaced_at_the_end() -> None:
    stream = TextStream()
    assert stream.feed(b"a\xe2") + stream.feed(b"", final=True) == "a\ufffd"


@pytest.mark.parametrize("size", [1, 2, 3, 50])
def test_a_stop_text_ends_the_text_before_it_however_it_is_cut(size: int) -> None:
    text, stream = b"one END two STOP three", TextStream(["STOP", "ENDING"])
    parts = [stream.feed(text[i : i + size]) for i in range(0, len(text), size)]
    assert "".join(parts) + stream.feed(b"", final=True) == "one END two "
    assert stream.stopped


@pytest.mark.parametrize("spread", [0.1, 8.0])  # the most probable thousand do not reach p, or do
@pytest.mark.parametrize("p", [0.5, 0.9, 0.999])
def test_top_p_keeps_the_smallest_set_in_a_large_vocabulary(p: float, spread: float) -> None:
    logits = spread * torch.randn(2, 3000, generator=torch.Generator().manual_seed(0))
    for row, kept in zip(logits, keep_top_p(logits, p), strict=True):
        probabilities, order = row.double().softmax(-1).sort(descending=True)
        n_kept = int((probabilities.cumsum(-1) < p).sum()) + 1
        assert set(kept.isfinite().nonzero()[:, 0].tolist()) == set(order[:n_kept].tolist())
