import hashlib
import math
import random
from collections import Counter

import pytest

from minigpt.data import stories

STORIES = list(stories.generate(2000, seed=0))


def test_reading_a_story_back_gives_the_probability_with_which_it_was_written() -> None:
    for number in range(2000):
        writer = stories.Writer(random.Random(number))
        stories.tell(writer)
        assert stories.log_probability(writer.text) == pytest.approx(writer.log_probability, abs=1e-9)


def test_all_probabilities_of_a_small_part_of_the_grammar_add_up_to_one() -> None:
    """'A cat sat.' and its kind are few enough to be written out; their sum is the probability of their opening."""
    total = 0.0
    for animal in stories.ANIMALS_WITHOUT_AN.texts:
        for deed in stories.DEEDS.texts:
            short = f"A {animal} {deed}."
            longer = (f"{short} The {animal} was {feeling}." for feeling in stories.FEELINGS.texts)
            total += sum(math.exp(stories.log_probability(text)) for text in (short, *longer))
    assert total == pytest.approx(stories.OPENINGS.probabilities["A"])


def test_openings_are_as_frequent_as_their_probability_says() -> None:
    counts = Counter(text.startswith("Once upon a time") for text in STORIES)
    expected = stories.OPENINGS.probabilities["Once upon a time"]
    deviation = math.sqrt(expected * (1 - expected) / len(STORIES))
    assert counts[True] / len(STORIES) == pytest.approx(expected, abs=4 * deviation)


@pytest.mark.parametrize("text", ["A cat sat.", "hello world!"])
def test_plain_texts_of_the_lesson_are_possible(text: str) -> None:
    assert stories.log_probability(text) < 0


def test_a_text_that_breaks_the_grammar_is_refused_with_its_place() -> None:
    with pytest.raises(ValueError, match="from character 6 on"):
        stories.log_probability("A cat barked.")
    with pytest.raises(ValueError, match="has ended there"):
        stories.log_probability("hello world! hello")


def test_a_wrong_pronoun_breaks_the_grammar() -> None:
    story = next(text for text in STORIES if text.startswith("Once") and " but the queen " in text)
    with pytest.raises(ValueError, match="expected there"):
        stories.log_probability(story.replace(" her ", " his "))


def test_the_same_seed_writes_the_same_bytes_on_every_machine() -> None:
    text = "\n".join(stories.generate(200, seed=7)).encode()
    assert (stories.VERSION, hashlib.sha256(text).hexdigest()) == (VERSION, SHA256)


def test_a_story_does_not_depend_on_how_many_there_are() -> None:
    assert list(stories.generate(5, seed=0)) == STORIES[:5]


def test_no_option_is_the_beginning_of_another_at_the_end_of_a_word() -> None:
    for name, options in vars(stories).items():
        if isinstance(options, stories.Options):
            for text in options.texts:
                longer = [other for other in options.texts if other != text and other.startswith(text)]
                assert all(other[len(text)].isalpha() for other in longer), (name, text, longer)


def test_both_of_a_pair_of_roles_have_the_same_stories_but_for_their_pronouns() -> None:
    swaps = {"king": "queen", "he": "she", "his": "her"}
    for story in STORIES:
        words = story.split(" ")
        if story.startswith("Once") and "king" in words:
            swapped = " ".join(swaps.get(word, word) for word in words)
            assert stories.log_probability(swapped) == pytest.approx(stories.log_probability(story))


VERSION, SHA256 = 1, "b295e7c7385207219fd5c0afacfc2ddb080a47bcfba46b88330db42733a2cb62"
