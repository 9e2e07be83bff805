"""Folders of ours that are gone when what they are for is over, whoever is killed at whatever moment."""

import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness.host.process.reaper import Reaper

REMOVE = 'for again in 1 2 3 4 5 6 7 8 9 10; do rm -rf -- "$1" && exit; sleep 0.2; done'
"""Again where something that was killed with us still wrote into it."""


@contextmanager
def temporary_dir(prefix: str, beside: Path | None = None) -> Iterator[Path]:
    """A new folder that nobody else may enter, with all that comes into it; in the folder `beside`, or where the
    system has temporary files. Raises `OSError` where it can't be made.

    Who removes it is there before it is.
    """
    folder = (beside or Path(tempfile.gettempdir())) / f"{prefix}{secrets.token_hex(8)}"
    keeper = Reaper(["sh", "-c", REMOVE, "keeper", str(folder)])
    try:
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        keeper.close()
