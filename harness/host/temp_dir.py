"""Temporary folders that are removed when their block ends, whoever is killed at whatever moment."""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.host.process.reaper import Reaper

REMOVE = 'for again in 1 2 3 4 5 6 7 8 9 10; do rm -rf -- "$1" && exit; sleep 0.2; done'
"""Retries, because a process that was killed with us may still write into the folder."""


@contextmanager
def temporary_dir(prefix: str, beside: Path | None = None) -> Iterator[Path]:
    """Create a folder that nobody else may enter, and remove it with its content at the end; in the folder
    `beside`, or where the system has temporary files. Raises `OSError` if it can't be created.

    The reaper starts before the folder is created.
    """
    folder = (beside or Path(tempfile.gettempdir())) / f"{prefix}{secrets.token_hex(8)}"
    reaper = Reaper(["sh", "-c", REMOVE, "reaper", str(folder)])
    try:
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        reaper.close()
