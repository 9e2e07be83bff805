"""The files of evidence in the folder of all runs, and nothing else of this host.

Names come from a history or from a request: neither is trusted. Each part of a path is opened in the folder before
it, as no symlink, so that nothing leads out of the folder, whoever changes what while it is looked at.
"""

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from harness.integrations.server.models import Evidence, EvidenceFile
from harness.integrations.server.problems import Refused
from harness.report.evidence import UNSAFE

LARGEST = 64 << 20  # bytes of a file that are sent
CHUNK = 1 << 16  # bytes
MOST_FILES = 200
HEADERS = {
    "content-security-policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
    "content-disposition": "inline",
}  # fmt: skip


def places(run: str, cell: str, test: str) -> list[tuple[str, str, str]]:
    """Where the evidence of a verdict may be, as runs here and runs on a farm write it."""
    safe = UNSAFE.sub("_", test)
    slugs = [cell.replace(":", "-").replace("/", "-on-"), UNSAFE.sub("_", cell.replace(":", "-")).lstrip(".")]
    names = [safe, safe.lstrip(".") or "_"]
    return list(dict.fromkeys((run, slug, name) for slug in slugs for name in names))


def found(runs: Path, run: str, cell: str, test: str) -> Evidence:
    """The files. Raises `Refused` where there are none."""
    for place in places(run, cell, test):
        try:
            files = listed(runs, place)
        except Refused:
            continue
        base = "/".join(["evidence", *(quote(part, safe="") for part in place)])
        rows = [EvidenceFile(name=name, size=size, path=f"{base}/{quote(name, safe='')}") for name, size in files]
        return Evidence(run=run, cell=cell, test=test, files=rows)
    raise Refused(
        404, "There is no evidence of it here.",
        "A pass leaves none; that of another host lies there: bring it into the folder that --runs names.",
    )  # fmt: skip


def listed(runs: Path, place: Sequence[str]) -> list[tuple[str, int]]:
    """The regular files of a folder by name, with their sizes in bytes. Raises `Refused` if there is none."""
    with _folder(runs, place) as folder:
        rows: list[tuple[str, int]] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if len(rows) < MOST_FILES and entry.is_file(follow_symlinks=False) and _is_name(entry.name):
                    rows.append((entry.name, entry.stat(follow_symlinks=False).st_size))
        return sorted(rows)


def opened(runs: Path, place: Sequence[str], name: str) -> int:
    """A descriptor of a regular file, which is the caller's to close. Raises `Refused` if there is none."""
    with _folder(runs, place) as folder:
        file = _open(name, os.O_NONBLOCK, folder)  # a FIFO would be waited for
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise _nothing()
        return file


def read(file: int) -> Iterator[bytes]:
    """What the file has, from its beginning; closes it."""
    with open(file, "rb", buffering=0) as stream:
        left = LARGEST
        while left and (data := stream.read(min(CHUNK, left))):
            left -= len(data)
            yield data
        if not left:
            yield b"\n... the rest is left out: look at the file itself\n"


@contextmanager
def _folder(runs: Path, place: Sequence[str]) -> Iterator[int]:
    folder = _open(str(runs), os.O_DIRECTORY, None)
    try:
        for part in place:
            inner = _open(part, os.O_DIRECTORY, folder)
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)


def _open(name: str, flags: int, folder: int | None) -> int:
    """Open it for reading. Only the folder of all runs, which whoever runs the server names, may be a link."""
    if folder is not None:
        if not _is_name(name):
            raise _nothing()
        flags |= os.O_NOFOLLOW
    try:
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC | flags, dir_fd=folder)
    except (OSError, ValueError) as error:
        raise _nothing() from error


def _is_name(name: str) -> bool:
    """Whether it is one part of a path, and no hidden one."""
    return bool(name) and not name.startswith(".") and "/" not in name and "\0" not in name


def _nothing() -> Refused:
    return Refused(404, "There is no such evidence here.", "api/evidence tells what there is of a test.")
