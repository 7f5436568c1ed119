"""From tokens to text that can be shown at once: no half characters, nothing of a stop text."""

import codecs
from collections.abc import Iterable, Iterator, Sequence


def shown(
    steps: Iterable[Sequence[int]], token_bytes: Sequence[bytes], stops: Sequence[str], n_samples: int
) -> Iterator[tuple[int, str]]:
    """What each sample goes on with, by its number, as soon as it can be shown; `steps` are tokens of all samples."""
    streams = [TextStream(stops) for _ in range(n_samples)]
    for step in steps:
        for row, token in enumerate(step):
            yield row, streams[row].feed(token_bytes[token])
        if all(stream.stopped for stream in streams):
            break
    for row, stream in enumerate(streams):
        yield row, stream.feed(b"", final=True)


class TextStream:
    """Turns the bytes of one sample into text as they come, and ends it before the first of its stop texts.

    Bytes of a character that is not complete yet are held back, and so is text that may become a stop text.
    """

    def __init__(self, stops: Sequence[str] = ()) -> None:
        assert all(stops), "an empty stop text would stop everything"
        self.stopped = False
        self._stops = stops
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""

    def feed(self, piece: bytes, final: bool = False) -> str:
        """Text that can be shown now that `piece` has come; `final` gives out all that is left."""
        if self.stopped:
            return ""
        text = self._held + self._decoder.decode(piece, final)
        found = [place for place in (text.find(stop) for stop in self._stops) if place >= 0]
        if found:
            self.stopped = True
            self._held = ""
            return text[: min(found)]
        keep = 0 if final else self._possible_stop(text)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]

    def _possible_stop(self, text: str) -> int:
        """Length of the longest end of `text` with which a stop text begins."""
        lengths = [n for stop in self._stops for n in range(1, len(stop)) if text.endswith(stop[:n])]
        return max(lengths, default=0)
