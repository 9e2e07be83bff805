"""Serves the files of evidence in the folder of all runs, and nothing else of this host.

Names come from a history or a request, and neither is trusted. Each part of a path is opened in the folder before
it, never through a symlink, so nothing leads out of the folder, even while others change it.
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


def candidate_paths(run: str, cell: str, test: str) -> list[tuple[str, str, str]]:
    """Where the evidence of a verdict may be: local runs and farm runs write it to different paths."""
    safe = UNSAFE.sub("_", test)
    slugs = [cell.replace(":", "-").replace("/", "-on-"), UNSAFE.sub("_", cell.replace(":", "-")).lstrip(".")]
    names = [safe, safe.lstrip(".") or "_"]
    return list(dict.fromkeys((run, slug, name) for slug in slugs for name in names))


def find_evidence(runs: Path, run: str, cell: str, test: str) -> Evidence:
    """The files of evidence. Raises `Refused` if there are none."""
    for parts in candidate_paths(run, cell, test):
        try:
            files = list_files(runs, parts)
        except Refused:
            continue
        base = "/".join(["evidence", *(quote(part, safe="") for part in parts)])
        rows = [EvidenceFile(name=name, size=size, path=f"{base}/{quote(name, safe='')}") for name, size in files]
        return Evidence(run=run, cell=cell, test=test, files=rows)
    raise Refused(
        404, "There is no evidence of it here.",
        "A pass leaves none; that of another host lies there: bring it into the folder that --runs names.",
    )  # fmt: skip


def list_files(runs: Path, parts: Sequence[str]) -> list[tuple[str, int]]:
    """The regular files of a folder by name, with their sizes in bytes. Raises `Refused` if there is no such
    folder."""
    with _folder(runs, parts) as folder:
        rows: list[tuple[str, int]] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                if len(rows) < MOST_FILES and entry.is_file(follow_symlinks=False) and _is_name(entry.name):
                    rows.append((entry.name, entry.stat(follow_symlinks=False).st_size))
        return sorted(rows)


def open_file(runs: Path, parts: Sequence[str], name: str) -> int:
    """Open a regular file; the caller closes the descriptor. Raises `Refused` if there is no such file."""
    with _folder(runs, parts) as folder:
        file = _open(name, os.O_NONBLOCK, folder)  # a FIFO would block
        if not stat.S_ISREG(os.fstat(file).st_mode):
            os.close(file)
            raise _not_found()
        return file


def read_chunks(file: int) -> Iterator[bytes]:
    """The content of the file from its beginning, at most `LARGEST` bytes; closes it."""
    with open(file, "rb", buffering=0) as stream:
        left = LARGEST
        while left and (data := stream.read(min(CHUNK, left))):
            left -= len(data)
            yield data
        if not left:
            yield b"\n... the rest is left out: look at the file itself\n"


@contextmanager
def _folder(runs: Path, parts: Sequence[str]) -> Iterator[int]:
    folder = _open(str(runs), os.O_DIRECTORY, None)
    try:
        for part in parts:
            inner = _open(part, os.O_DIRECTORY, folder)
            os.close(folder)
            folder = inner
        yield folder
    finally:
        os.close(folder)


def _open(name: str, flags: int, folder: int | None) -> int:
    """Open for reading. Only the folder of all runs, which the server's user names, may be a symlink."""
    if folder is not None:
        if not _is_name(name):
            raise _not_found()
        flags |= os.O_NOFOLLOW
    try:
        return os.open(name, os.O_RDONLY | os.O_CLOEXEC | flags, dir_fd=folder)
    except (OSError, ValueError) as error:
        raise _not_found() from error


def _is_name(name: str) -> bool:
    """Whether it is a single part of a path, and not hidden."""
    return bool(name) and not name.startswith(".") and "/" not in name and "\0" not in name


def _not_found() -> Refused:
    return Refused(404, "There is no such evidence here.", "api/evidence tells what there is of a test.")
