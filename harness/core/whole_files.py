"""Writes files atomically: a full disk or a kill leaves the previous file."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from harness.core.errors import HostError, of_system

MODE = 0o666
"""Less the process's umask, as for any file that is opened for writing."""


def write_whole(path: Path, content: str | bytes, cure: str = "", make_folder: bool = False) -> None:
    """Write the file; creates its folders only with `make_folder`, because the name may be mistyped.

    Raises what `written_whole` raises.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _refused(path, error, cure) from error
    with written_whole(path, cure) as file:
        file.write(data)


@contextmanager
def written_whole(path: Path, cure: str = "") -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces `path` by one rename when the block ends well.

    If `path` is no plain file but a pipe or a device, it is written directly. Raises `HostError` with the path,
    and with `cure` in place of the usual one, if it can't be written.
    """
    try:
        with _in_place(path) if path.exists() and not path.is_file() else _beside(path) as file:
            yield file
    except OSError as error:
        raise _refused(path, error, cure) from error


def check_writable(path: Path, cure: str = "", make_folder: bool = False) -> None:
    """Check before long work that the file can be written; raises `HostError` if not."""
    try:
        if make_folder:
            path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            path.open("wb").close()
        else:
            _try(path)
    except OSError as error:
        raise _refused(path, error, cure) from error


def _try(path: Path) -> None:
    new = _new_name(path.resolve())
    with _removed_at_last(new), new.open("xb") as file:
        file.write(b"\0")


@contextmanager
def _in_place(path: Path) -> Iterator[IO[bytes]]:
    with path.open("wb") as file:
        yield file


@contextmanager
def _beside(path: Path) -> Iterator[IO[bytes]]:
    path = path.resolve()  # follow symlinks: the file itself is replaced
    new = _new_name(path)
    with _removed_at_last(new):
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE), "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)


def _new_name(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}")


@contextmanager
def _removed_at_last(path: Path) -> Iterator[None]:
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()


def _refused(path: Path, error: OSError, cure: str) -> HostError:
    why = of_system(error)
    place = ascii(str(path))[1:-1]
    return HostError(f"{place} can't be written: {error.strerror or error}.", cure or why.hint)
