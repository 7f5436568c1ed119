"""Where text comes from: the built-in stories, Python's own sources, files, the Hugging Face hub, an address."""

import hashlib
import re
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from minigpt.config.hyperparameters import DataConfig
from minigpt.data import stories
from minigpt.data.download import download
from minigpt.data.files import Split, find_files
from minigpt.data.hub import open_hub
from minigpt.data.packing import ending
from minigpt.data.readers import read_documents
from minigpt.data.records import Document, Reading
from minigpt.errors import UserError

PIECE = 2**20
"""Characters of a document that are held in memory at once."""
AFTER_WORD = re.compile(r"(?<=\S)\s")
KEPT_STORIES = 100_000
"""That are held in memory, some 60 MB."""


@dataclass(frozen=True)
class Piece:
    """A part of a document; the parts of a document follow each other and the last of them ends it."""

    text: str
    ends_document: bool


@dataclass(frozen=True)
class Source:
    """A corpus. The same `fingerprint` means the same text."""

    description: str
    fingerprint: str
    has_validation: bool
    documents: Callable[[Split], Iterable[Document]]
    is_same: Callable[[], bool] = lambda: True
    """Whether the text still is what the fingerprint was taken of, told in a moment."""

    def check(self) -> None:
        """UserError where the text has changed since it was opened."""
        if not self.is_same():
            raise UserError(f"data.source = {self.description}: was changed while it was read; run the command again")

    def pieces(self, split: Split = "train") -> Iterator[Piece]:
        """The documents of a split, the large ones in several pieces."""
        empty = True
        for document in self.documents(split):
            for piece in cut(document):
                empty = False
                yield piece
        if empty:
            raise UserError(f"data.source = {self.description}: its {split} part holds no text; give one that does")


def open_source(config: DataConfig) -> Source:
    """The source that `data.source` names; UserError where it cannot be had."""
    name = config.source
    if name is None:
        raise UserError("data.source = null: an imported model has no text of its own; name a text")
    if name == "stories":
        source = _stories(config)
    elif name == "python":
        source = _python()
    elif name.startswith("hf:"):
        source = Source(name, *open_hub(config))
    elif name.startswith("http:"):
        raise UserError(f"data.source = {name}: use an https: address, so that nobody can change the text on its way")
    elif name.startswith("https:"):
        path = download(name, config.sha256, Path(config.directory) / "downloads")
        source = _files(name, {"train": [path]}, _reading(config))
    else:
        source = _files(name, find_files(name), _reading(config))
    return source if config.max_documents is None else _limited(source, config.max_documents)


def absolute(name: str) -> str:
    """`data.source` with the whole path where it names files."""
    elsewhere = name in ("stories", "python") or name.startswith(("hf:", "http:", "https:", "~"))
    return name if elsewhere else str(Path(name).absolute())


def cut(document: Iterable[str]) -> Iterator[Piece]:
    """A document, which comes in parts of any size, in pieces of about a million characters.

    It is cut before a white space that follows something else: there every tokenizer of minigpt cuts as well, so that
    the pieces' tokens are the whole document's.
    """
    held = ""
    for part in document:
        held, start = held + part, 0
        while len(held) - start >= 2 * PIECE:
            place = _safe_cut(held, start)
            yield Piece(held[start:place], ends_document=False)
            start = place
        held = held[start:]
    if held:
        yield Piece(held, ends_document=True)


def _safe_cut(text: str, start: int) -> int:
    """Where a white space follows another character, at `PIECE` characters after `start` or soon; if nowhere, there."""
    found = AFTER_WORD.search(text, start + PIECE, start + 2 * PIECE)
    return found.start() if found else start + PIECE


def _stories(config: DataConfig) -> Source:
    told: list[Document] = []  # what the tokenizer learned from need not be told again

    def documents(_split: Split) -> Iterator[Document]:
        yield from told
        for i, story in enumerate(stories.generate(config.n_stories, config.stories_seed, len(told)), len(told)):
            if i == len(told) < KEPT_STORIES:
                told.append([story])
            yield [story]

    identity = f"stories {stories.VERSION} {config.n_stories} {config.stories_seed}"
    return Source(f"{config.n_stories:,} built-in stories", _digest(identity), False, documents)


def _python() -> Source:
    library = Path(sysconfig.get_paths()["stdlib"])
    outside = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
    paths = [
        path
        for path in sorted(library.rglob("*.py"))
        if not outside & set(path.relative_to(library).parts) and _is_utf8(path)
    ]
    return _files("python", {"train": paths}, Reading())


def _is_utf8(path: Path) -> bool:
    try:
        path.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError):
        return False
    return True


def _reading(config: DataConfig) -> Reading:
    return Reading(config.text_column, config.document_separator, config.skip_empty)


def _files(name: str, paths: dict[Split, list[Path]], reading: Reading) -> Source:
    def documents(split: Split) -> Iterator[Document]:
        return (document for path in paths[split] for document in read_documents(path, reading))

    digest, before = hashlib.sha256(repr(reading).encode()), _states(paths)
    for split, split_paths in paths.items():
        for path in split_paths:
            try:
                with path.open("rb") as file:
                    content = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise UserError(f"{path}: cannot be read ({error.strerror}); name a file of text") from None
            digest.update(f"{split} {ending(path.name)} {content}\n".encode())
    return Source(name, digest.hexdigest(), "validation" in paths, documents, lambda: _states(paths) == before)


def _states(paths: dict[Split, list[Path]]) -> list[tuple[int, int] | None]:
    """Sizes and times of files; None of those that are not there."""
    states: list[tuple[int, int] | None] = []
    for path in chain.from_iterable(paths.values()):
        try:
            states.append((path.stat().st_size, path.stat().st_mtime_ns))
        except OSError:
            states.append(None)
    return states


def _limited(source: Source, n_documents: int) -> Source:
    fingerprint = _digest(f"{source.fingerprint} {n_documents}")
    return Source(
        f"{source.description} (first {n_documents:,} documents)",
        fingerprint,
        source.has_validation,
        lambda split: islice(source.documents(split), n_documents),
        source.is_same,
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
