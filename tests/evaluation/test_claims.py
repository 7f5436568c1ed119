from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from minigpt.config.hyperparameters import Config, DataConfig, ModelConfig, TrainingConfig
from minigpt.data import stories
from minigpt.data.stories_words import MEN, ROLE_PAIRS, WOMEN
from minigpt.errors import UserError
from minigpt.evaluation import claims
from minigpt.model.gpt import GPT
from minigpt.runs import Run, RunFolder
from minigpt.tokenizers.word import WordTokenizer


@cache
def tokenizer() -> WordTokenizer:
    return WordTokenizer.learn(stories.generate(4000, seed=1), 4096)


def untrained(**data: Any) -> Run:
    shape = ModelConfig(vocab_size=tokenizer().vocab_size, context_length=256, n_layers=2, n_heads=2, d_model=32)
    model = GPT(shape).eval()
    model.initialise(0)
    config = Config(data=DataConfig(n_stories=300, **data), model=shape, training=TrainingConfig(max_steps=1))
    return Run(RunFolder(Path("runs/untrained")), config, tokenizer(), model, 1)


def token(word: str) -> int:
    (one,) = tokenizer().encode(f" {word}").tolist()
    return int(one)


def test_analogies_are_right_where_sex_is_one_direction_and_wrong_where_vectors_are_random() -> None:
    run = untrained()
    assert all(claim.share < 0.1 for claim in claims.analogies(run))
    vectors = run.model.token_embedding.weight.data
    for his, her in ROLE_PAIRS:
        vectors[token(her)] = vectors[token(his)]
        vectors[token(her), 0] += 0.05
    excluded, whole = claims.analogies(run)
    assert excluded.n_cases == whole.n_cases == 2 * len(ROLE_PAIRS) * (len(ROLE_PAIRS) - 1)
    assert excluded.share == 1
    assert whole.chance == 1 / tokenizer().vocab_size


class Knowing(nn.Module):
    """Expects the pronoun of the first person of the text or, `wrongly`, of the last."""

    def __init__(self, place: int) -> None:
        super().__init__()
        self.place = place
        self.device = torch.device("cpu")

    def forward(self, tokens: Tensor) -> Tensor:
        logits = torch.zeros(*tokens.shape, tokenizer().vocab_size)
        name = tokenizer().decode([int(tokens[0, self.place])]).strip()
        logits[..., token("her" if name in WOMEN else "his")] = 1
        return logits


@pytest.mark.parametrize(("place", "share"), [(1, 1.0), (3, 0.0)])
def test_a_pronoun_is_right_if_it_is_the_givers(place: int, share: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "N_CASES", 20)
    run = untrained()
    cases = claims.held_out_pronouns(run)
    assert {case.right for case in cases} == {"his", "her"}
    assert all((case.right == "her") == (case.giver in WOMEN) == (case.receiver in MEN) for case in cases)
    knowing = Run(run.folder, run.config, tokenizer(), Knowing(place), 1)  # type: ignore[arg-type]
    claim = claims.pronoun_claim(knowing, cases)
    assert (claim.share, claim.n_cases, claim.chance) == (share, 20, 0.5)


def test_held_out_combinations_are_in_no_story(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "N_CASES", 300)
    run = untrained()
    corpus = "\n".join(stories.generate(300, run.config.data.stories_seed))
    cases = claims.held_out_pronouns(run)
    assert not any(case.text in corpus for case in cases)
    monkeypatch.setattr(stories, "generate", lambda *_: [f"{cases[0].text} a book."])
    assert cases[0] not in claims.held_out_pronouns(run)


def test_the_head_that_looks_at_the_giver_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(claims, "N_CASES", 10)
    run = untrained()
    with torch.no_grad():  # all queries and keys alike: weights are even everywhere
        run.model.blocks[0].attention.q_proj.weight.zero_()
        run.model.blocks[1].attention.q_proj.weight.zero_()
    best, *_ = claims.tying_heads(run, claims.held_out_pronouns(run))
    assert best.share == pytest.approx(1 / 5)  # end-of-text, giver, verb, receiver, pronoun
    assert best.chance == pytest.approx(1 / 5)


def test_things_are_followed_to_where_the_story_took_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str, str]] = []

    def prefers(_run: Run, text: str, right: str, wrong: str) -> bool:
        asked.append((text, right, wrong))
        return len(asked) % 2 == 0

    monkeypatch.setattr(claims, "_prefers", prefers)
    monkeypatch.setattr(claims, "N_TRACKED", 6)
    run = untrained()
    moved, given = claims.tracking(run)
    assert min(moved.n_cases, given.n_cases) == 6
    corpus = list(stories.generate(600, run.config.data.stories_seed + 1))
    for text, right, wrong in asked:
        (story,) = (story for story in corpus if story.startswith(text))
        assert story[len(text) :].startswith(f" {right}")
        assert wrong != right
        assert wrong.removeprefix("the ") in text


def test_other_texts_have_no_claims() -> None:
    run = untrained(source="python")
    with pytest.raises(UserError, match=r"data\.source = python"):
        claims.measure(run)
