"""The notation of `stories.txt`: rules, templates and slots, read into what a story is told by."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from typing import Generic, TypeVar

from minigpt.data.stories_words import Word

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Options(Generic[T]):
    """Ways to go on, with whole numbers as weights: their sums are exact, so that every machine draws the same."""

    items: Sequence[T]
    weights: Sequence[int]

    @cached_property
    def cumulative(self) -> list[int]:
        """For each item the sum of the weights up to and with its own."""
        return list(accumulate(self.weights))


@dataclass(frozen=True, eq=False)
class Slot:
    """A place for a word: which variable holds it, which class it comes from, how it is spelled here."""

    variable: str
    options: Options[Word]
    form: str
    article: str
    capital: bool
    companion: tuple[str, str] | None = None
    """Variable and form of the companion that names the word's class, where the class depends on another word."""
    choices: "Mapping[str, Slot]" = field(default_factory=dict)
    """Then: this place for a word of each class."""

    def spell(self, word: Word) -> str:
        """The word as it stands in this place."""
        if word not in self._spelled:
            self._spelled[word] = self._spell(word)
        return self._spelled[word]

    def _spell(self, word: Word) -> str:
        text = word.forms[self.form] if self.form else word.text
        if self.article and text[0].islower():  # a name takes no article
            text = f"{self.article if self.article == 'the' else indefinite_article(text)} {text}"
        return text[0].upper() + text[1:] if self.capital else text

    @cached_property
    def _spelled(self) -> dict[Word, str]:
        return {}

    @cached_property
    def by_name(self) -> "Slot":
        """This place with the word itself where a pronoun would stand."""
        return replace(self, form="", article="the")

    @cached_property
    def spellings(self) -> dict[str, int]:
        """Every word of the class as it would stand here, with its index in the class."""
        return {self.spell(word): i for i, word in enumerate(self.options.items)}

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Finds which of the words stands here, and not a mere beginning of a longer one."""
        return re.compile(f"(?:{'|'.join(map(re.escape, self.spellings))})(?![A-Za-z])")

    @cached_property
    def indices(self) -> dict[str, int]:
        """Every word of the class as such, with its index in the class."""
        return {word.text: i for i, word in enumerate(self.options.items)}


@dataclass(frozen=True, eq=False)
class Template:
    """A text with slots for words and with choices between other templates."""

    parts: "Sequence[str | Slot | Options[Template]]"


def indefinite_article(word: str) -> str:
    """The word a or an, as the word sounds."""
    return "an" if re.match(r"(?!use|uni|uku|euc)[aeiou]|hour|honest", word) else "a"


def parse(text: str, classes: Mapping[str, Sequence[Word]]) -> Options[Template]:
    """The first rule of a grammar, which holds all others that it needs; `stories.txt` describes the notation."""
    rules: dict[str, Options[Template]] = {}
    words = {name: Options(items, [word.weight for word in items]) for name, items in classes.items()}
    for name, body in reversed(re.findall(r"^(\w+)\n((?: .*\n)+)", text, re.MULTILINE)):
        weights, texts = zip(*re.findall(r"^  (\d+) (.*\n(?:   .*\n)*)", body, re.MULTILINE), strict=True)
        rules[name] = Options([_template(text, rules, words) for text in texts], [int(weight) for weight in weights])
    return rules[name]


def _template(text: str, rules: Mapping[str, Options[Template]], words: Mapping[str, Options[Word]]) -> Template:
    def until_closed() -> tuple[Template, str]:
        """The template up to the next | or ] or the end, and which of them it was."""
        parts: list[str | Slot | Options[Template]] = []
        for piece in pieces:
            if piece in ("|", "]"):
                return Template(parts), piece
            if piece == "[":
                choices = [until_closed()]
                while choices[-1][1] == "|":
                    choices.append(until_closed())
                parts.append(Options([template for template, _ in choices], [1] * len(choices)))
            elif piece.startswith("{"):
                parts.append(rules[piece[1:-1]] if piece[1:-1] in rules else _slot(piece, words))
            elif piece:
                parts.append(piece)
        return Template(parts), ""

    line = " ".join(text.split()).replace(" / ", "\n")
    pieces: Iterator[str] = iter(re.split(r"(\{.*?\}|[\[|\]])", line))
    return until_closed()[0]


def _slot(piece: str, words: Mapping[str, Options[Word]]) -> Slot:
    match = re.fullmatch(r"\{(?:(a|the) )?([a-z]+)(\d?)(?:=(\w+)(?::(\w+))?)?(?:\.(\w+))?\}", piece, re.IGNORECASE)
    if match is None:
        raise ValueError(f"{piece} is no slot")
    article, name, number, kind, companion, form = (group or "" for group in match.groups())
    capital = piece[1].isupper() or form[:1].isupper()
    if name.lower() in ("he", "him", "his"):
        name, form = "hero", name
    name = name.lower()

    def slot(options: Options[Word]) -> Slot:
        return Slot(name + number, options, form.lower(), article.lower(), capital)

    if companion:
        choices = {class_name: slot(options) for class_name, options in words.items()}
        return replace(slot(Options([], [])), companion=(kind, companion), choices=choices)
    return slot(words.get(kind or name, Options([], [])))
