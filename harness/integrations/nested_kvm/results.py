"""Copies what a lab's command wrote to where it would have written it on this host."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from harness.core.errors import HarnessError, HostError

SQLITE = b"SQLite format 3\0"
BESIDE = ("-wal", "-shm", "-journal")
"""Suffixes of the files that SQLite keeps beside a database."""


def copy_results(out: Path, folder: Path) -> list[Path]:
    """Copy the files under `out` into `folder`, at the same relative paths; returns the new paths.

    Only plain files are copied, and only below `folder`, because a guest may have broken out into the lab. A
    history is merged into the existing one. Raises `HostError` if there is no room.
    """
    copied = []
    for name in _files(out):
        target = folder / name
        try:
            if _is_database(out / name):
                merge_history(out / name, target)
            else:
                _put(out / name, target)
        except OSError as error:
            raise HostError(
                f"What the lab wrote can't be put to {target}: {error.strerror}.",
                "Free some space there, or go to another folder, and run it again.",
            ) from error
        copied.append(target)
    return copied


def merge_history(history: Path, into: Path | None = None) -> None:
    """Add the records of a history to another one, by default this user's. Raises `HarnessError`."""
    # The import takes a second; only commands that stored records need it.
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
    """Every plain file, by its path below `out`; links and devices are skipped."""
    for entry in sorted(os.scandir(out / below), key=lambda one: one.name):
        if entry.is_dir(follow_symlinks=False):
            yield from _files(out, below / entry.name)
        elif entry.is_file(follow_symlinks=False) and not entry.name.endswith(BESIDE):
            yield below / entry.name


def _put(source: Path, target: Path) -> None:
    """Copy by one rename, with this user's default modes."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_symlink() or (target.exists() and not target.is_file()):
        raise HarnessError(f"{target} is no plain file, and is not written over.", "Go to another folder.")
    new = target.with_name(f".{target.name}.new")
    try:
        shutil.copyfile(source, new)
        new.replace(target)
    finally:
        new.unlink(missing_ok=True)
