"""What each token of a story leaves open, beside what the whole story does."""

import math

import pytest

from minigpt.data import stories
from minigpt.data.stories_ahead import token_probabilities
from minigpt.tokenizers import Tokenizer, build_tokenizer

STORIES = list(stories.generate(100, seed=5))
TOKENIZERS = [("byte", None), ("character", None), ("word", 300), ("bpe", 300)]


@pytest.fixture(params=TOKENIZERS, ids=str, scope="module")
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    """One of them knows few words, and spells the others in bytes."""
    kind, size = request.param
    return build_tokenizer(kind, size, STORIES)


def ids_of(text: str, tokenizer: Tokenizer, *more: int) -> list[int]:
    """After the end of the document before it."""
    return [tokenizer.end_of_text, *tokenizer.encode(text).tolist(), *more]


@pytest.mark.parametrize("text", [min(STORIES, key=len), max(STORIES, key=len), "Alice gave Bob her book."])
def test_the_tokens_of_a_story_are_together_as_probable_as_it_is(text: str, tokenizer: Tokenizer) -> None:
    found = token_probabilities(ids_of(text, tokenizer, tokenizer.end_of_text), tokenizer)
    assert sum(math.log(p) for p in found) == pytest.approx(stories.log_probability(text), abs=1e-9)


@pytest.mark.parametrize("text", ["Once", "Alice gave Bob"])
def test_all_tokens_that_may_come_next_are_one_together(text: str, tokenizer: Tokenizer) -> None:
    begun = ids_of(text, tokenizer)
    found = [token_probabilities([*begun, token], tokenizer) for token in range(tokenizer.vocab_size)]
    assert sum(each[-1] for each in found if len(each) == len(begun)) == pytest.approx(1, abs=1e-9)


def test_nothing_is_known_from_the_first_token_on_that_no_story_has(tokenizer: Tokenizer) -> None:
    known, odd = tokenizer.encode("Once upon a time").tolist(), tokenizer.encode(" she said. Once").tolist()
    found = token_probabilities([tokenizer.end_of_text, *known, *odd], tokenizer)
    assert len(known) <= len(found) <= len(known) + 2
