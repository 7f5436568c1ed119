"""The words of the built-in corpus, in classes, and which of them belong together.

Plain classes stand in `stories_words.txt`; people and words with companions stand here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, eq=False)
class Word:
    """A word, its weight in its class, and the forms and companions that the grammar can ask it for."""

    text: str
    weight: int = 1
    forms: Mapping[str, str] = field(default_factory=dict)


def zipf(words: str) -> tuple[Word, ...]:
    """Weights that fall as 1 / (rank + 20): a long tail, and yet each word comes often enough to be learned."""
    return tuple(Word(text, 100_000 // (rank + 20)) for rank, text in enumerate(words.split()))


def person(text: str, female: bool, weight: int = 1) -> Word:
    """Somebody, with the pronouns that refer back, and the classes of the roles that she or he can have.

    A form is called by its masculine, as in `{hero.he}`.
    """
    sex, he, him, his = ("woman", "she", "her", "her") if female else ("man", "he", "him", "his")
    ranked, related = f"ranked_{sex}", f"related_{sex}"
    return Word(text, weight, {"he": he, "him": him, "his": his, "ranked": ranked, "related": related})


def roles(name: str, pairs: Mapping[tuple[str, str], tuple[str, str]]) -> dict[str, tuple[Word, ...]]:
    """A class of his roles and a class of hers, in the same circumstances."""
    return {
        f"{name}_{sex}": tuple(
            Word(pair[i], forms={"home": home, "habit": habit}) for pair, (home, habit) in pairs.items()
        )
        for i, sex in enumerate(("man", "woman"))
    }


def table(columns: str, *rows: tuple[str, ...]) -> tuple[Word, ...]:
    """Equally frequent words with their companions; the first column is the word itself."""
    return tuple(Word(row[0], forms=dict(zip(columns.split(), row, strict=True))) for row in rows)


LISTS = {
    name: zipf(words)
    for name, words in re.findall(
        r"^(\w+): (.+(?:\n .+)*)", Path(__file__).with_suffix(".txt").read_text(encoding="ascii"), re.MULTILINE
    )
}
WOMEN, MEN = (tuple(word.text for word in LISTS[name]) for name in ("woman", "man"))
"""First names; nothing but the stories tells whose they are."""
GIVING_VERBS = tuple(word.text for word in LISTS["giving"])

RANKED = {
    ("king", "queen"): ("palace", "sat on a golden throne"),
    ("prince", "princess"): ("castle", "rode a white pony"),
    ("emperor", "empress"): ("citadel", "ruled over seven countries"),
    ("duke", "duchess"): ("manor", "drove out in a fine carriage"),
    ("lord", "lady"): ("mansion", "walked two big hounds"),
    ("wizard", "witch"): ("tower", "mixed a magic potion"),
    ("man", "woman"): ("hut", "chopped wood for the stove"),
    ("boy", "girl"): ("treehouse", "climbed the highest trees"),
    ("waiter", "waitress"): ("inn", "carried bowls of hot soup"),
}
RELATED = {
    ("father", "mother"): ("bakery", "kneaded the dough"),
    ("son", "daughter"): ("cabin", "fed the chickens"),
    ("brother", "sister"): ("houseboat", "played tricks on the ducks"),
    ("uncle", "aunt"): ("windmill", "ground the flour"),
    ("nephew", "niece"): ("caravan", "taught the parrot to talk"),
    ("grandfather", "grandmother"): ("cottage", "dozed by the fire"),
    ("husband", "wife"): ("lighthouse", "lit the great lamp"),
}
ROLE_PAIRS = (*RANKED, *RELATED)
"""His word and her word, in the same circumstances: where they live, what they do every day."""

CLASSES: Mapping[str, tuple[Word, ...]] = LISTS | {
    **roles("ranked", RANKED),
    **roles("related", RELATED),
    "name": tuple(person(word.text, word.text in WOMEN, word.weight) for word in LISTS["woman"] + LISTS["man"]),
    "season": table(
        "season sign next",
        ("winter", "snow lay on every roof", "the snow melted and the first violets came out"),
        ("spring", "the meadows were full of violets", "the days grew long and hot"),
        ("summer", "the days were long and hot", "the leaves turned yellow and fell"),
        ("autumn", "the leaves were yellow", "snow fell on every roof"),
    ),
    "trait": table(
        "trait moral",
        ("kind", "A kind deed always finds its way home."),
        ("greedy", "Who wants everything is never rich."),
        ("proud", "The highest nose trips over the smallest stone."),
        ("lazy", "Work that waits until tomorrow grows overnight."),
        ("brave", "Courage opens the heaviest door."),
        ("honest", "The truth is the shortest way home."),
        ("patient", "Good things come to those who can wait."),
        ("curious", "Who asks many questions gets many answers."),
        ("generous", "What you give away you keep forever."),
        ("stubborn", "A tree that never bends breaks in the storm."),
        ("careful", "Who looks twice falls only half as often."),
        ("boastful", "An empty barrel makes the most noise."),
    ),
    "riddle": table(
        "riddle question",
        ("clock", "What has a face but no eyes?"),
        ("comb", "What has teeth but cannot bite?"),
        ("needle", "What has an eye but cannot see?"),
        ("river", "What has a mouth but never eats?"),
        ("bottle", "What has a neck but no head?"),
        ("book", "What has a spine but no bones?"),
        ("table", "What has four legs but cannot walk?"),
        ("piano", "What has many keys but opens no door?"),
        ("candle", "What grows shorter as it grows older?"),
        ("towel", "What gets wetter while it dries?"),
        ("echo", "What answers you but never asks?"),
        ("shadow", "What follows you but makes no sound?"),
        ("road", "What runs uphill but never moves?"),
        ("cloud", "What flies without wings and cries without eyes?"),
        ("hole", "What grows bigger when you take from it?"),
        ("coin", "What has a head and a tail but no body?"),
    ),
}
