"""Data sets of the Hugging Face hub, or folders that are laid out as one, streamed through `datasets`."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from minigpt.config.hyperparameters import DataConfig
from minigpt.data.files import Split
from minigpt.data.records import Document, Reading, Records
from minigpt.errors import UserError

Documents = Callable[[Split], Iterator[Document]]


def open_hub(config: DataConfig) -> tuple[str, bool, Documents, Callable[[], bool]]:
    """Fingerprint, whether there is a validation split, documents and whether they still are the same, of `hf:NAME`.

    UserError where it fails.
    """
    from datasets import load_dataset_builder

    assert config.source is not None
    source, name = config.source, config.source.removeprefix("hf:")
    try:
        builder = load_dataset_builder(name, config.subset)
        splits: Any = builder.as_streaming_dataset()
    except Exception as error:  # whatever `datasets` and what it is built on raise over a name or network
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"data.source = {source}: the data set cannot be opened ({reason}); "
            "check name, data.subset and network, or give a file or folder on this machine"
        ) from None
    if "train" not in splits:
        there = ", ".join(splits)
        raise UserError(f"data.source = {source}: has no split 'train' but {there}; give one that has")

    def documents(split: Split) -> Iterator[Document]:
        records = Records(source, reading)
        try:
            for number, row in enumerate(splits[split], 1):
                yield from records.document(row, f"row {number} of {split}")
        except UserError:
            raise
        except Exception as error:  # likewise over a broken file
            reason = " ".join(str(error).split())[:200]
            raise UserError(
                f"data.source = {source}: cannot be read on ({reason}); mend the data set, or try again"
            ) from None
        records.end()

    reading = Reading(config.text_column, skip_empty=config.skip_empty)
    identity, version = f"{name} {config.subset} {reading}", _version(name, builder)
    digest = hashlib.sha256(f"{identity} {version}".encode()).hexdigest()
    return digest, "validation" in splits, documents, lambda: _version(name, builder) == version


def _version(name: str, builder: Any) -> str:
    """What changes when the data set does: the hub's commit, or a local folder's names, sizes and times."""
    if not Path(name).is_dir():
        return str(builder.hash)
    files = sorted(path for path in Path(name).rglob("*") if path.is_file())
    return repr([(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files])
