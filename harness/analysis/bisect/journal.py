"""Keeps the records of a bisection: on disk after each record, or in memory for simulations."""

import fcntl
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from harness.analysis.bisect.journal_records import Record, from_json, to_json
from harness.core.errors import HarnessError


class Journal(Protocol):
    """Records in the order in which things happened. An appended record is never lost or changed."""

    @property
    def records(self) -> Sequence[Record]: ...

    def append(self, record: Record) -> None: ...


class MemoryJournal:
    """A journal in memory: it ends with its process."""

    def __init__(self, records: Sequence[Record] = ()) -> None:
        self.records: list[Record] = list(records)

    def append(self, record: Record) -> None:
        self.records.append(record)


class JournalFile:
    """A journal of JSON Lines at `path`, for one session at a time. Each record is on disk when `append` returns.

    An incomplete last line, left by a kill or a full disk, is dropped when the file is opened. Raises
    `HarnessError` if another session uses the file, if an earlier line is no record, or if the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise HarnessError(
                f"Another session is writing {path}.", "Wait for it, or bisect elsewhere with --state."
            ) from None
        try:
            self.records, whole = _read(path)
            os.ftruncate(self._file, whole)
        except BaseException:
            os.close(self._file)
            raise
        self._size = whole
        _sync_folder(path.parent)

    def append(self, record: Record) -> None:
        line = json.dumps(to_json(record), separators=(",", ":")).encode() + b"\n"
        try:
            written = 0
            while written < len(line):
                written += os.write(self._file, line[written:])
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self._size)
            raise HarnessError(
                f"{self.path} could not be written: {error.strerror}.",
                "Free some space and go on with --resume: nothing before is lost.",
            ) from error
        self._size += len(line)
        self.records.append(record)

    def close(self) -> None:
        """Release the file for another session."""
        os.close(self._file)

    def __enter__(self) -> "JournalFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read(path: Path) -> list[Record]:
    """The records of a journal, which a session may be writing now."""
    return _read(path)[0]


def _read(path: Path) -> tuple[list[Record], int]:
    """The records, and the length in bytes of the lines that hold them."""
    content = path.read_bytes()
    records: list[Record] = []
    whole = 0
    for number, line in enumerate(content.splitlines(keepends=True), 1):
        try:
            # a line without a newline may be the beginning of a longer one
            record = from_json(json.loads(line)) if line.endswith(b"\n") else None
        except (ValueError, KeyError, TypeError) as error:
            if whole + len(line) < len(content):
                raise HarnessError(
                    f"Line {number} of {path} is no record of a bisection.", "Remove the file to begin again."
                ) from error
            record = None
        if record is None:
            break
        records.append(record)
        whole += len(line)
    return records, whole


def _sync_folder(folder: Path) -> None:
    """Flush the folder: a new file's name is on disk only when its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
