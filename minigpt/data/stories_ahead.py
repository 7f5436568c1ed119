"""How the built-in stories go on: each token's probability after those before it, summed over all stories."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from minigpt.data.stories import DOCUMENT, END, chosen, spell
from minigpt.data.stories_grammar import Options, Slot, Template
from minigpt.data.stories_words import Word
from minigpt.tokenizers import Tokenizer

Part = str | Slot | Options[Template]
Parts = tuple[Part, "Parts"] | None
"""The next one first, and then the others."""
SETTLED = re.compile(r"\s|[A-Za-z]+[^A-Za-z]|[^A-Za-z\s]+[A-Za-z\s]")
"""What must be known of a text's continuation for its tokens to be: up to a blank, or where letters or signs end."""


@dataclass(frozen=True)
class Telling:
    """A story as far as it is told, and one of the ways in which it was."""

    text: str
    parts: Parts
    words: Mapping[str, Word]
    probability: float

    def further(self) -> Iterator["Telling"]:
        """One part further, in every way."""
        assert self.parts is not None
        part, rest = self.parts
        if isinstance(part, str):
            yield self._saying(part, rest)
        elif isinstance(part, Options):
            for template, weight in zip(part.items, part.weights, strict=True):
                share = weight / part.cumulative[-1]
                yield Telling(self.text, _before(template.parts, rest), self.words, self.probability * share)
        else:
            slot = chosen(part, self.words)
            if slot.variable in self.words:
                yield self._saying(spell(slot, self.words), rest)
                return
            taken = {word.text for word in self.words.values()}
            free = [
                pair for pair in zip(slot.options.items, slot.options.weights, strict=True) if pair[0].text not in taken
            ]
            total = sum(weight for _, weight in free)
            for word, weight in free:
                words = {**self.words, slot.variable: word}
                text = self.text + spell(slot, words)
                yield Telling(text, rest, words, self.probability * weight / total)

    def _saying(self, text: str, rest: Parts) -> "Telling":
        return Telling(self.text + text, rest, self.words, self.probability)


def token_probabilities(token_ids: Sequence[int], tokenizer: Tokenizer) -> list[float]:
    """Of each token but the first, after which a document begins: its probability after those before it.

    They end before the first token that no story has there.
    """
    ids = list(token_ids[1:])
    tellings, before, found = [Telling("", (DOCUMENT, None), {}, 1.0)], 1.0, list[float]()
    for n in range(1, len(ids) + 1):
        text = tokenizer.decode(ids[:n])
        tellings = list(_told(tellings, text, _reaches))
        start, tail = _last_word(ids[:n], text, tokenizer)
        settled = _told(tellings, text, _settles)
        now = sum(one.probability for one in settled if _written(one, start, tokenizer)[: len(tail)] == tail)
        if not now:
            break
        found.append(now / before)
        before = now
    return found


def _told(tellings: Iterable[Telling], text: str, enough: Callable[[str, int], bool]) -> Iterator[Telling]:
    """The ways to go on that agree with `text`, each told far enough or to its end."""
    waiting = list(tellings)
    while waiting:
        telling = waiting.pop()
        if not telling.text.startswith(text[: len(telling.text)]):
            continue
        if telling.parts is None or enough(telling.text, len(text)):
            yield telling
        else:
            waiting.extend(telling.further())


def _reaches(told: str, length: int) -> bool:
    return len(told) >= length


def _settles(told: str, length: int) -> bool:
    return SETTLED.match(told, length) is not None


def _last_word(ids: list[int], text: str, tokenizer: Tokenizer) -> tuple[int, list[int]]:
    """Where the text's last blank is, and the tokens from it on; all of them where one goes beyond it."""
    start = max(text.rfind(" "), text.rfind("\n"), 0)
    n_before, length = 0, 0
    while length < start:
        length += len(tokenizer.token_bytes[ids[n_before]])
        n_before += 1
    return (start, ids[n_before:]) if length == start else (0, ids)


def _written(telling: Telling, start: int, tokenizer: Tokenizer) -> list[int]:
    """The story's tokens from a place in its text on, that of its end too where it is told."""
    ids: list[int] = tokenizer.encode(telling.text.removesuffix(END)[start:]).tolist()
    return [*ids, tokenizer.end_of_text] if telling.parts is None else ids


def _before(parts: Sequence[Part], rest: Parts) -> Parts:
    for part in reversed(parts):
        rest = part, rest
    return rest
