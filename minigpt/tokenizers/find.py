"""Tokenizers by their names: runs, files, what comes with minigpt, and what tiktoken has cached."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from minigpt.errors import UserError, nearest_path
from minigpt.tokenizers import KINDS, Tokenizer, build_tokenizer, load_tokenizer, named_tokenizer

STORIES = Path(__file__).with_name("stories.json")
"""Byte-pair encoding, learned from the built-in stories by `scripts/stories_tokenizer.py`."""
PUBLIC = ("gpt2", "cl100k_base", "o200k_base")
"""Tiktoken's encodings that are shown without being asked for: those of GPT-2, GPT-4 and GPT-4o."""
TokenizerOf = Callable[[str], Tokenizer]
"""The tokenizer for a text: the same for each, but for that of characters, whose alphabet is the text's."""


def find_tokenizer(name: str) -> TokenizerOf:
    """That of a run or a file, `stories`, `byte`, `character`, or one of tiktoken's encodings; UserError for others."""
    if name == "character" and not Path(name).exists():
        return lambda text: build_tokenizer(name, 0, [text])
    tokenizer = _find(name)
    return lambda _text: tokenizer


def _find(name: str) -> Tokenizer:
    path = Path(name)
    if (path / "config.yaml").is_file():
        return load_tokenizer(path / "tokenizer.json")
    if path.is_file():
        return load_tokenizer(path)
    if name == STORIES.stem:
        return load_tokenizer(STORIES)
    if name == "byte":
        return build_tokenizer(name, 0, [])
    if name in KINDS:
        raise UserError(f"command line: --tokenizer {name}: is learned from a corpus; name a run that has learned one")
    import tiktoken

    names = ["byte", "character", STORIES.stem, *tiktoken.list_encoding_names()]
    if name not in names:
        runs = (config.parent for config in path.parent.glob("*/config.yaml"))
        hint = f"{', '.join(names)}{nearest_path(path, [*runs, *map(Path, names)])}"
        raise UserError(f"command line: --tokenizer {name}: is neither a run's folder nor one of {hint}")
    return named_tokenizer(name, "command line: --tokenizer", "that of a run")


def usual_names(folder: Path) -> list[str]:
    """What is compared where nothing was asked for: the run in `folder` that was begun last, and what is at hand."""
    files = sorted(folder.glob("*/tokenizer.json"), key=lambda path: path.stat().st_mtime)
    return [*(str(path.parent) for path in files[-1:]), STORIES.stem, *cached_encodings(), "character", "byte"]


def cached_encodings() -> list[str]:
    """Those of `PUBLIC` that tiktoken can load without the network."""
    import tiktoken

    cached = []
    with _offline():
        for name in PUBLIC:
            try:
                tiktoken.get_encoding(name)
                cached.append(name)
            except (OSError, ValueError):
                continue
    return cached


@contextmanager
def _offline() -> Iterator[None]:
    """Meanwhile tiktoken reads nothing but its cache: files named by the SHA-1 of their address."""
    from tiktoken import load

    def refuse(blobpath: str) -> bytes:
        raise ConnectionError(f"{blobpath} is not cached")

    fetch, load.read_file = load.read_file, refuse
    try:
        yield
    finally:
        load.read_file = fetch
