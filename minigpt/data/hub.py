"""Data sets of the Hugging Face hub, or folders that are laid out as one, streamed through `datasets`."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

from minigpt.config.hyperparameters import DataConfig
from minigpt.data.files import Document
from minigpt.errors import UserError

Documents = Callable[[Literal["train", "validation"]], Iterator[Document]]


def open_hub(config: DataConfig) -> tuple[str, bool, Documents]:
    """Fingerprint, whether there is a validation split, and documents of `hf:NAME`; UserError where it fails."""
    from datasets import load_dataset

    name = config.source.removeprefix("hf:")
    try:
        splits: Any = load_dataset(name, config.subset, streaming=True)
    except (OSError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"data.source = {config.source}: the data set cannot be opened ({reason}); "
            "check name, data.subset and network, or give a file or folder on this machine"
        ) from None
    if "train" not in splits:
        raise UserError(f"data.source = {config.source}: has no split 'train' but {', '.join(splits)}")

    def documents(split: Literal["train", "validation"]) -> Iterator[Document]:
        for row in splits[split]:
            if not isinstance(row.get(config.text_column), str):
                raise UserError(
                    f"data.source = {config.source}: no text in column '{config.text_column}'; "
                    f"its columns are {', '.join(row)}: set data.text_column"
                )
            yield [row[config.text_column]]

    identity = f"{name} {config.subset} {config.text_column} {_version(name, splits['train'])}"
    return hashlib.sha256(identity.encode()).hexdigest(), "validation" in splits, documents


def _version(name: str, split: Any) -> str:
    """What changes when the data set does: the hub's own checksums, or a local folder's names, sizes and times."""
    if not Path(name).is_dir():
        return str(split.info.download_checksums or split.info.version)
    files = sorted(path for path in Path(name).rglob("*") if path.is_file())
    return repr([(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files])
