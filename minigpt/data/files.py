"""Documents out of local files: plain text, JSONL, Parquet."""

import codecs
import glob
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from minigpt.errors import UserError, nearest

Document = Iterable[str]
"""The text of one document, in parts of any size."""

FORMATS = (".txt", ".jsonl", ".parquet")
VALIDATION_NAMES = ("validation", "valid", "val")
READ = 2**20


def make_folder(path: Path, key: str) -> None:
    """Make a folder that does not exist yet; UserError naming the `key` that says where it is to be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be made a folder ({error.strerror}); choose another {key}") from None


def find_files(name: str) -> dict[Literal["train", "validation"], list[Path]]:
    """The files that a path or glob names; in a folder, files called train* and validation* are the two splits."""
    try:
        path = Path(name).expanduser()
    except RuntimeError as error:
        raise UserError(f"data.source = {name}: {error}; give the path without ~") from None
    if path.is_file():
        return {"train": [path]}
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.suffix in FORMATS and file.is_file())
        if not found:
            raise UserError(f"data.source = {name}: the folder has no {', '.join(FORMATS)} file")
        train = [file for file in found if file.stem.startswith("train")]
        validation = [file for file in found if file.stem.startswith(VALIDATION_NAMES)]
        return {"train": train, "validation": validation} if train and validation else {"train": found}
    if any(character in name for character in "*?["):
        found = sorted(file for file in map(Path, glob.glob(str(path), recursive=True)) if file.is_file())
        if not found:
            raise UserError(f"data.source = {name}: no file has such a name")
        return {"train": found}
    beside = [str(file) for file in path.parent.iterdir()] if path.parent.is_dir() else []
    hint = nearest(name, {"stories", "python", *beside} - {name})
    hint = hint or "; give stories, python, a file, a folder, hf:OWNER/NAME or an https: address"
    raise UserError(f"data.source = {name}: there is no such file{hint}")


def read_documents(path: Path, text_column: str) -> Iterator[Document]:
    """The documents of one file; UserError with the file and the place where it is not what its name says."""
    if path.suffix == ".jsonl":
        return _read_jsonl(path, text_column)
    if path.suffix == ".parquet":
        return _read_parquet(path, text_column)
    return iter([_read_text(path)])


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def _read_text(path: Path) -> Iterator[str]:
    """Text of a UTF-8 file in parts, line ends as they are, a byte-order mark left out."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    read = 0
    with _open(path) as file:
        while True:
            block = file.read(READ)
            pending = len(decoder.getstate()[0])
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                place = read - pending + error.start
                raise UserError(f"{path}: not UTF-8 at byte {place}; convert the file to UTF-8") from None
            yield text.removeprefix("\ufeff") if read == 0 else text
            read += len(block)
            if not block:
                return


def _read_jsonl(path: Path, column: str) -> Iterator[Document]:
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
                text = record.get(column) if isinstance(record, dict) else None
                if isinstance(text, str):
                    text.encode()
            except (ValueError, RecursionError) as error:
                raise UserError(f"{path}, line {number}: not JSON in UTF-8 ({error})") from None
            if not isinstance(text, str):
                found = f"{_kind(record)} with {', '.join(record)}" if isinstance(record, dict) else _kind(record)
                if isinstance(record, dict) and column in record:
                    found = _kind(record[column])
                raise UserError(f"{path}, line {number}: no text under '{column}' but {found}; set data.text_column")
            yield [text]


def _kind(value: object) -> str:
    """A JSON value's type in JSON's words."""
    names = {dict: "an object", list: "an array", str: "a string", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")


def _read_parquet(path: Path, column: str) -> Iterator[Document]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with _open(path) as content, parquet.ParquetFile(content) as file:
            if column not in file.schema_arrow.names:
                names = ", ".join(file.schema_arrow.names)
                raise UserError(f"{path}: has no column '{column}' but {names}; set data.text_column")
            for batch in file.iter_batches(columns=[column], batch_size=1024):
                for text in batch.column(0).to_pylist():
                    if not isinstance(text, str):
                        raise UserError(f"{path}: column '{column}' holds {type(text).__name__} where text is expected")
                    yield [text]
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: not a Parquet file ({str(error).splitlines()[0]})") from None
