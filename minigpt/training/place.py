"""The folder of a run to be: what stands in its way, and what of an old run goes."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from minigpt.data.files import make_folder
from minigpt.errors import UserError, typed
from minigpt.runs import STATE, RunFolder, kept_steps, read_index
from minigpt.storage.lock import NAME as LOCK
from minigpt.storage.lock import locked
from minigpt.training.checkpoint import delete_checkpoint, own_folders


@contextmanager
def new_place(folder: RunFolder, overwrite: bool) -> Iterator[None]:
    """Hold an empty folder for a new run, without the old one; UserError where something stands in its way."""
    make_folder(folder.path, "run.directory")
    with locked(folder.path):
        check_place(folder, overwrite)  # maybe again, but now no other process can begin there
        clear(folder)
        yield


def check_place(folder: RunFolder, overwrite: bool) -> None:
    """UserError where something stands in a new run's way; nothing is deleted before data and model are good."""
    if folder.path.exists() and not folder.path.is_dir():
        raise UserError(f"{folder.path}: is not a folder; choose another run.directory")
    if not folder.path.exists() or all(path.name.startswith((LOCK, ".partial-")) for path in folder.path.iterdir()):
        return
    if not folder.config.is_file():
        raise UserError(f"{folder.path}: holds other things than a run; choose another run.name or run.directory")
    if not overwrite:
        raise UserError(
            f"{folder.path}: exists already; go on with --resume {typed(folder.path)}, choose another run.name=..., "
            "or replace it with --overwrite"
        )


@contextmanager
def in_place(folder: RunFolder) -> Iterator[None]:
    """Tell, where a run's files find no room, or its folder is not there any more, how to go on."""
    begun = folder.config.is_file()
    try:
        yield
    except (OSError, UserError) as error:
        resume = "minigpt train --resume"
        if begun and not folder.config.is_file():
            raise UserError(
                f"{folder.path}: is gone, or has another name now; go on there with: {resume} RUN"
            ) from None
        if isinstance(error, UserError):
            raise
        again = f"go on with: {resume} {typed(folder.path)}" if folder.config.is_file() else "run the command again"
        saved = kept_steps(folder, STATE)
        whole = f"the checkpoint of step {read_index(folder).last} is whole" if saved else "there is no checkpoint yet"
        raise UserError(
            f"{error.filename or folder.path}: cannot be written ({error.strerror}); {whole}: mend that, or make room, "
            f"then {again}"
        ) from None


def clear(folder: RunFolder) -> None:
    """Delete what minigpt has written into a run's folder, and nothing else; last what makes it a run."""
    for path in own_folders(folder):
        delete_checkpoint(path)
    written = [folder.index, folder.metrics, folder.tokenizer, folder.report, folder.explain, folder.habits]
    for path in (*written, *folder.path.glob(".partial-*"), *folder.tensorboard.glob("events.out.tfevents.*")):
        path.unlink(missing_ok=True)
    for inside in (folder.index.parent, folder.tensorboard):
        with suppress(OSError):  # somebody's own files are in it, or it is not there
            inside.rmdir()
    folder.config.unlink(missing_ok=True)
