"""Which files a source names, and what is left out of them."""

import glob
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

from minigpt.data.packing import PACKED, ending
from minigpt.data.readers import READERS
from minigpt.errors import UserError, nearest_path

Split = Literal["train", "validation"]
SPLITS: dict[Split, str] = {"train": r"(train|training)", "validation": r"(validation|valid|val|dev)"}
"""Names of files, alone or before something that is no letter, that make them a split."""
SHOWN = 3
"""Files left out that are named."""
DATA_REMEDY = "make room, or name another place with data.directory"


def make_folder(path: Path, key: str) -> None:
    """Make a folder that does not exist yet; UserError naming the `key` that says where it is to be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be made a folder ({error.strerror}); choose another {key}") from None


def find_files(name: str) -> dict[Split, list[Path]]:
    """The files that a path or glob names; in a folder, files called train* and validation* are the two splits.

    What is hidden is not looked at, and no file twice; what else is left out of a folder or pattern is told.
    """
    try:
        path = Path(name).expanduser()
    except RuntimeError:
        raise UserError(f"data.source = {name}: nobody here has that home; give the path without ~") from None
    if path.is_file():
        return {"train": [path]}
    if path.is_dir():
        return _of_folder(name, sorted(_visible(path)))
    if any(character in name for character in "*?["):
        named = [Path(file) for file in sorted(glob.glob(str(path), recursive=True))]
        found = _once(named)
        if not found:
            raise UserError(f"data.source = {name}: no file has such a name; correct the pattern")
        inside = {folder for file in found for folder in file.parents}
        _tell(name, len(found), [one for one in named if not one.is_file() and one not in inside])
        return {"train": found}
    if path.exists():
        raise UserError(f"data.source = {name}: is neither a file nor a folder; copy what comes out of it into a file")
    beside = list(path.parent.iterdir()) if path.parent.is_dir() else []
    hint = (
        nearest_path(path, [*beside, Path("stories"), Path("python")])
        or "; give stories, python, a file, a folder, hf:OWNER/NAME or an https: address"
    )
    raise UserError(f"data.source = {name}: there is no such file{hint}")


def _of_folder(name: str, files: list[Path]) -> dict[Split, list[Path]]:
    known = _once(file for file in files if ending(file.name) in READERS)
    if not known:
        endings = f"{', '.join(READERS)} file ({', '.join(PACKED)} after it or not)"
        hint = f"; to read others as text, name them by a pattern such as '{Path(name) / '*'}'" if files else ""
        raise UserError(f"data.source = {name}: the folder has no {endings}{hint or '; put one in'}")
    splits: dict[Split, list[Path]] = {
        split: [file for file in known if re.match(rf"{names}(?![^\W\d_])", file.name, re.IGNORECASE)]
        for split, names in SPLITS.items()
    }
    found: dict[Split, list[Path]] = splits if all(splits.values()) else {"train": known}
    read = {file for split_files in found.values() for file in split_files}
    _tell(name, len(read), [file for file in files if file not in read])
    return found


def _tell(name: str, n_read: int, left_out: list[Path]) -> None:
    """Say what is read, where that is not one file."""
    if n_read == 1 and not left_out:
        return
    some = ", ".join(file.name for file in left_out[:SHOWN]) + (", ..." if len(left_out) > SHOWN else "")
    more = f", {len(left_out)} left out ({some})" if left_out else ""
    print(f"files    {name}: {n_read:,} read{more}", file=sys.stderr)  # noqa: T201


def _visible(folder: Path) -> Iterator[Path]:
    """Files in a folder and those in it, and links to other folders and to nothing; not what begins with a dot."""

    def fail(error: OSError) -> None:
        raise UserError(f"{error.filename}: cannot be read ({error.strerror}); let it be read, or move it away")

    for place, folders, names in os.walk(folder, onerror=fail):
        folders[:] = [inside for inside in folders if not inside.startswith(".")]
        links = [inside for inside in folders if Path(place, inside).is_symlink()]
        yield from (Path(place, name) for name in (*names, *links) if not name.startswith("."))


def _once(paths: Iterable[Path]) -> list[Path]:
    """The files among the paths, in order, each once, whatever links lead to it."""
    files = {path.resolve(): path for path in reversed(list(paths)) if path.is_file()}
    return sorted(files.values())
