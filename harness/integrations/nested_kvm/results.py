"""Brings what a lab's command wrote to where it would have written it on this host."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from harness.core.errors import HarnessError, HostError

SQLITE = b"SQLite format 3\0"
BESIDE = ("-wal", "-shm", "-journal")
"""How the names of what SQLite keeps beside a database end."""


def bring(out: Path, folder: Path) -> list[Path]:
    """Put the files under `out` into `folder`, at the same places; those that were put.

    Only what is a plain file is taken, and put below `folder`, for a guest may have broken out into the lab.
    A history is merged with the one that is there. Raises `HostError` where there is no room.
    """
    brought = []
    for name in _files(out):
        place = folder / name
        try:
            if _is_database(out / name):
                merge(out / name, place)
            else:
                _put(out / name, place)
        except OSError as error:
            raise HostError(
                f"What the lab wrote can't be put to {place}: {error.strerror}.",
                "Free some space there, or go to another folder, and run it again.",
            ) from error
        brought.append(place)
    return brought


def merge(history: Path, into: Path | None = None) -> None:
    """Add a history's records to another's, by default this user's. Raises `HarnessError`."""
    # It takes a second to import, which nobody pays whose command kept none.
    from harness.metrics.history.store import History

    lines = history.with_suffix(".jsonl")
    with History(history) as ours, lines.open("wb") as file:
        ours.export(file)
    with History(into) as theirs, lines.open("rb") as file:
        theirs.import_(file)


def _is_database(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(SQLITE)) == SQLITE


def _files(out: Path, below: Path = Path()) -> Iterator[Path]:
    """Every plain file, by its path below `out`; links and devices are passed over."""
    for entry in sorted(os.scandir(out / below), key=lambda one: one.name):
        if entry.is_dir(follow_symlinks=False):
            yield from _files(out, below / entry.name)
        elif entry.is_file(follow_symlinks=False) and not entry.name.endswith(BESIDE):
            yield below / entry.name


def _put(source: Path, place: Path) -> None:
    """Appears by one rename, with this user's own modes."""
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.is_symlink() or (place.exists() and not place.is_file()):
        raise HarnessError(f"{place} is no plain file, and is not written over.", "Go to another folder.")
    new = place.with_name(f".{place.name}.new")
    try:
        shutil.copyfile(source, new)
        new.replace(place)
    finally:
        new.unlink(missing_ok=True)
