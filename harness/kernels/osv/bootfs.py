"""Takes the files out of a kernel of OSv that has its root inside: ramfs.

The format: an entry of 128 bytes for each file (size, offset, type, name), an empty one, then what the files hold,
without gaps. Offsets count from the first entry. Source: OSv's scripts/mkbootfs.py, fs/vfs/main.cc.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath

from harness.core.errors import BuildError

ENTRY = struct.Struct("<QQb111s")
NAME_AT = 17
"""Bytes before an entry's name."""

ALWAYS_THERE = b"/libenviron.so\0"
"""A file of every image."""

LINK = 1


@dataclass(frozen=True, slots=True)
class _Entry:
    size: int
    offset: int
    kind: int
    name: str


def unpack(kernel: bytes, out: Path) -> bytes:
    """Write the kernel's files to a new folder; returns the kernel without them. Raises `BuildError` if it has
    none."""
    start, entries = _find(kernel)
    out.mkdir()
    end = start
    for entry in entries:
        first = start + entry.offset
        end = max(end, first + entry.size)
        content, target = kernel[first : first + entry.size], _place(out, entry.name)
        target.parent.mkdir(parents=True, exist_ok=True)
        if entry.name.endswith("/"):
            target.mkdir(exist_ok=True)
        elif entry.kind == LINK:
            target.unlink(missing_ok=True)
            target.symlink_to(content.rstrip(b"\0").decode())
        else:
            target.write_bytes(content)
    return kernel[:start] + kernel[end:]


def _find(kernel: bytes) -> tuple[int, list[_Entry]]:
    """Where the first entry is, and all entries: the only place where sizes and offsets fit together."""
    at = kernel.find(ALWAYS_THERE)
    while at >= 0:
        start = at - NAME_AT
        while (before := _entry(kernel, start - ENTRY.size)) and _follows(before, _entry(kernel, start)):
            start -= ENTRY.size
        entries = list(_entries(kernel, start))
        whole = entries and entries[0].offset == (len(entries) + 1) * ENTRY.size
        if whole and all(_follows(one, after) for one, after in pairwise(entries)):
            return start, entries
        at = kernel.find(ALWAYS_THERE, at + 1)
    raise BuildError("There is no bootfs in the kernel.")


def _entries(kernel: bytes, at: int) -> Iterator[_Entry]:
    while entry := _entry(kernel, at):
        yield entry
        at += ENTRY.size


def _entry(kernel: bytes, at: int) -> _Entry | None:
    """The entry at that place; None if there is none."""
    if at < 0 or at + ENTRY.size > len(kernel):
        return None
    size, offset, kind, name = ENTRY.unpack_from(kernel, at)
    if not name.startswith(b"/") or kind not in (0, LINK) or offset + size > len(kernel):
        return None
    try:
        return _Entry(size, offset, kind, name.partition(b"\0")[0].decode())
    except UnicodeDecodeError:
        return None


def _follows(one: _Entry, after: _Entry | None) -> bool:
    return after is not None and one.offset + one.size == after.offset


def _place(out: Path, name: str) -> Path:
    parts = PurePosixPath(name).parts[1:]
    if not parts or ".." in parts:
        raise BuildError(f"The bootfs has a file named {name!r}.")
    return out.joinpath(*parts)
