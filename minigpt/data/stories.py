"""The built-in corpus: little stories from a probabilistic grammar whose every choice has a known probability.

A story is told by one program, whose only freedom is `Teller.pick`: one text out of several with known weights, which
is said at once. A `Writer` draws what it picks; a `Reader` finds what was picked in a finished text. So writing and
reading are the same code, every text can be read in one way only, and its exact probability is the product over the
picks: the mean of its negative logarithm is the corpus's entropy, the lowest loss that any model can reach.
"""

import math
import random
from abc import ABC, abstractmethod
from bisect import bisect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate

from minigpt.data import stories_words as words

VERSION = 1
"""Changes whenever the same seed gives other texts."""
MAX_EVENTS = 6


class Options:
    """Texts with probabilities; none is the beginning of another at a word's end."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        total = sum(weights.values())
        self.texts = list(weights)
        self.probabilities = {text: weight / total for text, weight in weights.items()}
        self.cumulative = list(accumulate(self.probabilities.values()))
        self.lengths = sorted({len(text) for text in weights}, reverse=True)


class Teller(ABC):
    """Tells a story, pick by pick."""

    log_probability = 0.0

    def pick(self, options: Options) -> str:
        """Say one of the options; returns it."""
        text = self.choose(options)
        self.log_probability += math.log(options.probabilities[text])
        return text

    @abstractmethod
    def choose(self, options: Options) -> str:
        """One of the options, said."""

    @abstractmethod
    def say(self, text: str) -> None:
        """Say what has to come."""

    @abstractmethod
    def ends(self, probability: float) -> bool:
        """Whether the story ends here, which it does with this probability."""


class Writer(Teller):
    """Draws every pick and writes it down."""

    def __init__(self, generator: random.Random) -> None:
        self._generator = generator
        self._parts: list[str] = []

    @property
    def text(self) -> str:
        """What was told so far."""
        return "".join(self._parts)

    def choose(self, options: Options) -> str:
        place = bisect(options.cumulative, self._generator.random())
        self._parts.append(options.texts[min(place, len(options.texts) - 1)])
        return self._parts[-1]

    def say(self, text: str) -> None:
        self._parts.append(text)

    def ends(self, probability: float) -> bool:
        end = self._generator.random() < probability
        self.log_probability += math.log(probability if end else 1 - probability)
        return end


class Reader(Teller):
    """Finds every pick in a finished text; ValueError with the place where the text is no story."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._place = 0

    def choose(self, options: Options) -> str:
        for length in options.lengths:
            candidate = self._text[self._place : self._place + length]
            after = self._text[self._place + length : self._place + length + 1]
            if candidate in options.probabilities and not after.isalpha():
                self._place += len(candidate)
                return candidate
        raise ValueError(f"not a built-in story from character {self._place} on: {self._text[self._place :][:20]!r}")

    def say(self, text: str) -> None:
        if not self._text.startswith(text, self._place):
            raise ValueError(f"not a built-in story from character {self._place} on: {text!r} is expected there")
        self._place += len(text)

    def ends(self, probability: float) -> bool:
        end = self._place == len(self._text)
        self.log_probability += math.log(probability if end else 1 - probability)
        return end

    @property
    def finished(self) -> bool:
        """Whether all of the text was read."""
        return self._place == len(self._text)


def generate(n_stories: int, seed: int) -> Iterator[str]:
    """Stories, the same ones for the same seed on every machine; story i is the same however many there are."""
    for number in range(n_stories):
        writer = Writer(random.Random(f"{VERSION} {seed} {number}"))  # noqa: S311 - not for secrets
        tell(writer)
        yield writer.text


def log_probability(text: str) -> float:
    """Natural logarithm of the probability that a story is `text`; ValueError where none can be."""
    reader = Reader(text)
    tell(reader)
    if not reader.finished:
        raise ValueError(f"not a built-in story from character {reader._place} on: the story has ended there")
    return reader.log_probability


def long_tailed(texts: str | Iterable[str]) -> dict[str, float]:
    """Weights that fall as 1 / (rank + 12): the first words are frequent, none is too rare to be learned."""
    listed = texts.split() if isinstance(texts, str) else texts
    return {text: 1 / (rank + 12) for rank, text in enumerate(listed)}


def with_article(weights: Mapping[str, float]) -> Options:
    """The same words with a or an before them."""
    return Options({f"{article(word)} {word}": weight for word, weight in weights.items()})


def article(word: str) -> str:
    """A or an, as the word sounds."""
    vowel = word[0] in "aeiou" and not word.startswith(("use", "uni", "ewe"))
    return "an" if vowel or word.startswith(("hour", "honest")) else "a"


@dataclass(frozen=True)
class Person:
    """Somebody in a story, with the pronouns that refer back."""

    name: str
    female: bool

    @property
    def she(self) -> str:
        """The subject: she or he."""
        return "she" if self.female else "he"

    @property
    def her(self) -> str:
        """The owner: her or his."""
        return "her" if self.female else "his"

    @property
    def whom(self) -> str:
        """The object: her or him."""
        return "her" if self.female else "him"


WOMEN, MEN = words.WOMEN.split(), words.MEN.split()
NAMES = {name: weight for names in (WOMEN, MEN) for name, weight in long_tailed(names).items()}
ROLES = {role: (pair, role == pair[1]) for pair in words.ROLES for role in pair}
PEOPLE = Options(NAMES)
TOWNS, THINGS, JOBS = (Options(long_tailed(text)) for text in (words.TOWNS, words.THINGS, words.JOBS))
HIDING_PLACES, PLACES = Options(long_tailed(words.HIDING_PLACES)), Options(long_tailed(words.PLACES))
ADJECTIVES, AN_ADJECTIVE = Options(long_tailed(words.ADJECTIVES)), with_article(long_tailed(words.ADJECTIVES))
ANIMALS, AN_ANIMAL = Options(long_tailed(words.ANIMALS)), with_article(long_tailed(words.ANIMALS))
A_JOB, FOODS = with_article(long_tailed(words.JOBS)), Options(long_tailed(words.FOODS))
FEELINGS, MANNERS = Options(long_tailed(words.FEELINGS)), Options(long_tailed(words.MANNERS))
DEEDS, GIVING, TIMES = (Options(long_tailed(text)) for text in (words.DEEDS, words.GIVING, words.TIMES))
GREETINGS = Options(long_tailed(words.GREETINGS.split(",")))
SEASONS, A_TRAIT = Options(dict.fromkeys(words.SEASONS, 1)), with_article(dict.fromkeys(words.TRAITS, 1))
A_ROLE = with_article(dict.fromkeys(ROLES, 1))
ROLE = Options(dict.fromkeys(ROLES, 1))
OPENINGS = Options(
    {"Once upon a time": 35, "One": 35, "A": 4, "hello world!": 0.5, "Hello": 1.5}
    | {name: 24 * weight / sum(NAMES.values()) for name, weight in NAMES.items()}
)
IN_HAND = Options({"put": 3, "gave": 3, "ate": 2, "saw": 2, "was": 1})
ELSEWHERE = Options({"took": 4, "ate": 2, "saw": 2, "was": 1})
QUESTION = Options({'"Where is': 1, "In the end": 1})


def tell(teller: Teller) -> None:
    """One whole story."""
    opening = teller.pick(OPENINGS)
    if opening == "Once upon a time":
        tell_of_a_wish(teller)
    elif opening == "One":
        tell_of_a_day(teller)
    elif opening == "A":
        tell_of_an_animal(teller)
    elif opening == "Hello":
        tell_of_a_meeting(teller)
    elif opening != "hello world!":
        tell_of_a_gift(teller, opening)


def tell_of_a_day(teller: Teller) -> None:
    """Two friends and a thing that changes hands and places; who reads well knows where it is in the end."""
    teller.say(" ")
    teller.pick(TIMES)
    teller.say(" in ")
    season = teller.pick(SEASONS)
    teller.say(" ")
    owner = person(teller)
    teller.say(" went to the ")
    teller.pick(PLACES)
    teller.say(f". {owner.she.capitalize()} had ")
    teller.pick(AN_ADJECTIVE)
    teller.say(" ")
    thing = teller.pick(THINGS)
    teller.say(f" in {owner.her} hand. There {owner.she} met ")
    friend = person(teller, other_than=owner)
    teller.say(", who was ")
    teller.pick(A_JOB)
    teller.say(".")
    tell_of_moves(teller, thing, owner, friend)
    teller.say(f" {words.SEASONS[season]}")


def tell_of_a_gift(teller: Teller, name: str) -> None:
    """Somebody gives a friend something of her own."""
    giver = Person(name, name in WOMEN)
    teller.say(" ")
    teller.pick(GIVING)
    teller.say(" ")
    friend = person(teller, other_than=giver)
    teller.say(f" {giver.her} ")
    thing = teller.pick(THINGS)
    if friend.female == giver.female:
        teller.say(f". {friend.name} thanked {giver.name}.")
    else:
        teller.say(f". {friend.she.capitalize()} thanked {giver.whom}.")
    tell_of_moves(teller, thing, friend, giver)


def tell_of_moves(teller: Teller, thing: str, holder: Person, other: Person) -> None:
    """What the two do with the thing, and what else they do, until it is asked for."""
    people = {holder.name: holder, other.name: other}
    actors = Options({**dict.fromkeys(people, 3), "At last": 2})
    in_hand_of: str | None = holder.name
    hidden = ""
    for _ in range(MAX_EVENTS):
        teller.say(" ")
        actor = teller.pick(actors)
        if actor == "At last":
            break
        (friend,) = people.keys() - {actor}
        teller.say(" ")
        verb = teller.pick(IN_HAND if in_hand_of == actor else ELSEWHERE)
        if verb == "put":
            teller.say(f" the {thing} in the ")
            in_hand_of, hidden = None, teller.pick(HIDING_PLACES)
        elif verb == "gave":
            teller.say(f" {friend} the {thing}")
            in_hand_of = friend
        elif verb == "took":
            teller.say(f" the {thing} " + ("from " + friend if in_hand_of else f"out of the {hidden}"))
            in_hand_of = actor
        elif verb == "ate":
            teller.say(" some ")
            teller.pick(FOODS)
            teller.say(" and ")
            teller.pick(FOODS)
        elif verb == "saw":
            teller.say(" ")
            teller.pick(AN_ADJECTIVE)
            teller.say(" ")
            teller.pick(ANIMALS)
        else:
            teller.say(" ")
            teller.pick(FEELINGS)
        teller.say(".")
    else:
        teller.say(" At last")
    teller.say(" it was time to go. ")
    if teller.pick(QUESTION) == '"Where is':
        asked = people[in_hand_of] if in_hand_of else other
        (asking,) = people.keys() - {asked.name}
        answer = "I have it" if in_hand_of else f"In the {hidden}"
        teller.say(f' the {thing}?" asked {asking}. "{answer}," said {asked.name}.')
    else:
        teller.say(f" {in_hand_of} had the {thing}." if in_hand_of else f" the {thing} was in the {hidden}.")


def tell_of_a_wish(teller: Teller) -> None:
    """Somebody wants something, helps somebody, and has it in the end, with the moral that fits."""
    teller.say(" there was ")
    trait = teller.pick(A_TRAIT).split()[1]
    teller.say(" ")
    role = teller.pick(ROLE)
    pair, female = ROLES[role]
    homes, wishes, company = words.ROLES[pair]
    hero = Person(role, female)
    teller.say(" who lived in the ")
    home = teller.pick(Options(dict.fromkeys(homes.split(), 1)))
    teller.say(" of ")
    teller.pick(TOWNS)
    teller.say(f" with {hero.her} ")
    friends = teller.pick(Options(dict.fromkeys(company.split(), 1)))
    teller.say(f". Every day {hero.she} ")
    teller.pick(DEEDS)
    teller.say(" ")
    teller.pick(MANNERS)
    teller.say(f", but the {role} wanted a ")
    wish = teller.pick(Options(dict.fromkeys(wishes.split(), 1)))
    teller.say(". One ")
    teller.pick(TIMES)
    teller.say(" ")
    helper = teller.pick(AN_ADJECTIVE)
    teller.say(" ")
    animal = teller.pick(ANIMALS)
    teller.say(f' came to the {home}. "Give me some ')
    food = teller.pick(FOODS)
    teller.say(f'," said the {animal}, "and you will have your {wish}." The {role} ')
    teller.pick(GIVING)
    teller.say(f" the {helper.split()[1]} {animal} {hero.her} {food}. In the end the {role} had a {wish}, and the")
    teller.say(f" {friends} were ")
    teller.pick(FEELINGS)
    teller.say(f". {words.TRAITS[trait]}")


def tell_of_an_animal(teller: Teller) -> None:
    """A cat sat."""
    teller.say(" ")
    animal = teller.pick(ANIMALS_WITHOUT_AN)
    teller.say(" ")
    teller.pick(DEEDS)
    teller.say(".")
    if not teller.ends(0.5):
        teller.say(f" The {animal} was ")
        teller.pick(FEELINGS)
        teller.say(".")


def tell_of_a_meeting(teller: Teller) -> None:
    """Two people greet each other."""
    teller.say(", ")
    first = person(teller)
    teller.say('! "')
    teller.pick(GREETINGS)
    teller.say(f'," said {first.name} to the ')
    role = teller.pick(ROLE)
    hero = Person(role, ROLES[role][1])
    teller.say(f". {hero.she.capitalize()} was ")
    teller.pick(FEELINGS)
    teller.say(f", and {hero.her} ")
    teller.pick(THINGS)
    teller.say(" was ")
    teller.pick(ADJECTIVES)
    teller.say(".")


ANIMALS_WITHOUT_AN = Options(
    {word: weight for word, weight in long_tailed(words.ANIMALS).items() if article(word) == "a"}
)


def person(teller: Teller, other_than: Person | None = None) -> Person:
    """Somebody by name, not the one that the story has already."""
    taken = other_than.name if other_than else None
    options = PEOPLE if taken is None else WITHOUT[taken]
    name = teller.pick(options)
    return Person(name, name in WOMEN)


WITHOUT = {taken: Options({name: weight for name, weight in NAMES.items() if name != taken}) for taken in NAMES}
