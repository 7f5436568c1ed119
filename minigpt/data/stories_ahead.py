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


def token_probabilities(token_ids: Sequence[int], tokenizer: Tokenizer) -> list[float | None]:
    """Of each token but the first, after which a document begins: its probability after those before it.

    None from the first token on that no story has there.
    """
    ids = list(token_ids[1:])
    tellings, before, found = [Telling("", (DOCUMENT, None), {}, 1.0)], 1.0, list[float | None]()
    for n in range(1, len(ids) + 1):
        text = _text(ids[:n], tokenizer)
        tellings = list(_told(tellings, text, _reaches))
        settled = _told(tellings, text, _settles)
        now = sum(telling.probability for telling in settled if _begins(telling, ids[:n], tokenizer))
        if not now:
            break
        found.append(now / before)
        before = now
    return found + [None] * (len(ids) - len(found))


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


def _begins(telling: Telling, ids: Sequence[int], tokenizer: Tokenizer) -> bool:
    """Whether the story's tokens begin with these; only the last ones are looked at, from a blank on."""
    text = _text(ids, tokenizer)
    start = max(text.rfind(" "), text.rfind("\n"), 0)
    n_before, length = 0, 0
    while length < start:
        length += len(tokenizer.token_bytes[ids[n_before]])
        n_before += 1
    if length > start:  # a token goes beyond the blank
        start = n_before = 0
    written = tokenizer.encode(telling.text.removesuffix(END)[start:]).tolist()
    if telling.parts is None:
        written.append(tokenizer.end_of_text)
    return written[: len(ids) - n_before] == list(ids[n_before:])


def _text(ids: Sequence[int], tokenizer: Tokenizer) -> str:
    return b"".join(tokenizer.token_bytes[token] for token in ids).decode(errors="replace")


def _before(parts: Sequence[Part], rest: Parts) -> Parts:
    for part in reversed(parts):
        rest = part, rest
    return rest
