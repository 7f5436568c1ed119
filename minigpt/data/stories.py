"""The built-in corpus: little stories from a probabilistic grammar, so that the lowest possible loss is known.

`stories.txt` holds the grammar and `stories_words.txt` the words. One program, the `Teller`, follows the grammar; its
only freedom is to pick one of several ways to go on, which shows in the text at once. A `Writer` draws what it picks, a
`Reader` finds in a finished text what was picked. So writing and reading are the same code, a text can be read in one
way only, and its probability is the product over the picks. The mean of its negative logarithm is the entropy of the
corpus: no model can predict better on average.
"""

import math
import random
from abc import ABC, abstractmethod
from bisect import bisect
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

from minigpt.data.stories_grammar import Options, Slot, Template, parse
from minigpt.data.stories_words import CLASSES, Word
from minigpt.errors import UserError

VERSION = 3
"""Changes whenever the same seed gives other stories."""
DOCUMENT = parse(Path(__file__).with_suffix(".txt").read_text(encoding="ascii"), CLASSES)
"""The rule that every document follows."""
END = "$"
"""The end of a document in the grammar; the stories themselves come without it."""

T = TypeVar("T")


def generate(n_stories: int, seed: int, start: int = 0) -> Iterator[str]:
    """Stories from number `start` on, one document each: the same bytes for the same seed, however many there are.

    Each story has a generator of its own. Python promises that the Mersenne Twister's `random()` gives the same numbers
    for the same whole number as its seed, on every machine and in every version.
    """
    for i in range(start, n_stories):
        writer = Writer(random.Random(seed << 32 | i))  # noqa: S311 - nothing here is secret
        writer.tell(DOCUMENT)
        yield writer.text.removesuffix(END)


def log_probability(text: str) -> float:
    """Natural logarithm of the probability that a document is `text`; UserError where the grammar cannot write it."""
    reader = Reader(text + END)
    reader.tell(DOCUMENT)
    if reader.position < len(reader.text):
        raise reader.error()
    return reader.log_probability


def chosen(slot: Slot, words: Mapping[str, Word]) -> Slot:
    """The slot, for a word of the class that a companion among the `words` names where there is one."""
    if slot.companion is None:
        return slot
    variable, form = slot.companion
    return slot.choices[words[variable].forms[form]]


def spell(slot: Slot, words: Mapping[str, Word]) -> str:
    """The slot's word; he or she becomes the name again where it could mean two people."""
    if slot.form == "he":
        hero, friend = words.get("hero"), words.get("friend")
        if hero and friend and hero.forms["he"] == friend.forms["he"]:
            slot = slot.by_name
    return slot.spell(words[slot.variable])


class Teller(ABC):
    """Tells one document, pick by pick."""

    def __init__(self) -> None:
        self.words: dict[str, Word] = {}

    def tell(self, rule: Options[Template]) -> None:
        """Tell one of the rule's templates."""
        for part in self.pick_template(rule).parts:
            if isinstance(part, str):
                self.say(part)
            elif isinstance(part, Slot):
                self._fill(part)
            else:
                self.tell(part)

    def _fill(self, slot: Slot) -> None:
        """Say the slot's word, which is picked where it is first needed; no word is picked twice."""
        slot = chosen(slot, self.words)
        if slot.variable not in self.words:
            self.words[slot.variable] = self.pick_word(slot)
        self.say(spell(slot, self.words))

    @abstractmethod
    def pick_template(self, rule: Options[Template]) -> Template:
        """The template that the text goes on with."""

    @abstractmethod
    def pick_word(self, slot: Slot) -> Word:
        """The word that the text goes on with, none that was picked before."""

    @abstractmethod
    def say(self, text: str) -> None:
        """The text goes on so."""


class Writer(Teller):
    """Draws every pick and writes the document down."""

    def __init__(self, generator: random.Random) -> None:
        super().__init__()
        self._generator, self._said = generator, list[str]()
        self._taken = set[str]()

    @property
    def text(self) -> str:
        """What was told so far."""
        return "".join(self._said)

    def pick_template(self, rule: Options[Template]) -> Template:
        """Drawn by weight."""
        return self._draw(rule)

    def pick_word(self, slot: Slot) -> Word:
        """Drawn by weight, again and again while it is taken."""
        while (word := self._draw(slot.options)).text in self._taken:
            pass
        self._taken.add(word.text)
        return word

    def say(self, text: str) -> None:
        """Written down."""
        self._said.append(text)

    def _draw(self, options: Options[T]) -> T:
        sums = options.cumulative
        return options.items[bisect(sums, int(self._generator.random() * sums[-1]))]


class Reader(Teller):
    """Finds every pick in a finished document; UserError at the first character that the grammar cannot write."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.position = 0
        self.log_probability = 0.0
        self._understood = 0  # the furthest that any way of reading the text has come

    def pick_template(self, rule: Options[Template]) -> Template:
        """The one with which the rest of the text can begin."""
        fitting = [index for index, template in enumerate(rule.items) if self._fits(template, self.position)]
        if not fitting:
            raise self.error()
        (index,) = fitting  # several would mean that the grammar can write a text in several ways
        return self._picked(rule, index)

    def pick_word(self, slot: Slot) -> Word:
        """The one with which the rest of the text begins."""
        taken = [slot.indices[word.text] for word in self.words.values() if word.text in slot.indices]
        found = slot.pattern.match(self.text, self.position)
        if not found or slot.spellings[found[0]] in taken:
            raise self.error()
        return self._picked(slot.options, slot.spellings[found[0]], taken)

    def say(self, text: str) -> None:
        """Compared with the rest of the text."""
        if not self._goes_on(text, self.position):
            raise self.error()
        self.position += len(text)

    def _picked(self, options: Options[T], index: int, taken: Collection[int] = ()) -> T:
        total = options.cumulative[-1] - sum(options.weights[i] for i in taken)
        self.log_probability += math.log(options.weights[index] / total)
        return options.items[index]

    def _goes_on(self, text: str, position: int) -> bool:
        """Whether `text` stands at the position; keeps how much of it does."""
        understood = text
        while not self.text.startswith(understood, position):
            understood = understood[:-1]
        self._understood = max(self._understood, position + len(understood))
        return understood == text

    def _fits(self, template: Template, position: int) -> bool:
        """Whether the text at the position begins like the template, up to and with its first pick."""
        for part in template.parts:
            if isinstance(part, Slot):
                part = chosen(part, self.words)
            if isinstance(part, Options):
                return any(self._fits(inner, position) for inner in part.items)
            if isinstance(part, Slot) and part.variable not in self.words:
                return part.pattern.match(self.text, position) is not None
            known = part if isinstance(part, str) else spell(part, self.words)
            if not self._goes_on(known, position):
                return False
            position += len(known)
        return True

    def error(self) -> UserError:
        """Where the text stops being a story."""
        position = max(self.position, self._understood)
        rest = self.text[position:].removesuffix(END)
        return UserError(
            f"not a story of the built-in corpus from character {position} on ({rest[:30]!r}); "
            "only texts that the corpus can contain have a probability"
        )
