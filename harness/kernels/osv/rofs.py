"""Unpacks the files of a rofs image into a folder that is shared with a guest whose root is virtio-fs.

OSv's build leaves such files where its manifest found them, in a tree that the next build changes; the rofs image
of the same cell has them all. Source for the layout: OSv's scripts/gen-rofs-img.py.
"""

import struct
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from stat import S_ISDIR, S_ISLNK
from typing import BinaryIO

from harness.core.cell import Cell
from harness.core.errors import BuildError, HostError
from harness.core.machine import Disk, Image
from harness.host.cache import Cache

SECTOR = 512
PARTITION = struct.Struct("<8xII")  # first sector, sectors
SUPERBLOCK = struct.Struct("<8Q")
INODE = struct.Struct("<4Q")


def with_shared_root(image: Image, build: Callable[[Cell], Image], cache: Cache) -> Image:
    """The image with its root in a folder: the files of the image that `build` makes of its cell with rofs. Raises
    `BuildError` and what `build` raises."""
    rofs = build(replace(image.cell, fs="rofs"))
    folder = cache.get(
        "osv-root", {"image": rofs.digest, "form": 1}, lambda out: unpack(rofs.disks[0], out / "root")
    )
    return replace(image, share=folder / "root")


def unpack(disk: Disk, out: Path) -> None:
    """Write the files of a rofs to a new folder. The rofs is in the disk's second partition, or is the whole disk.
    Raises `HostError` without qemu-img, `BuildError` if there is no rofs."""
    with tempfile.TemporaryDirectory(dir=out.parent) as work:
        raw = Path(work) / "raw"
        command = ["qemu-img", "convert", "-f", disk.format, "-O", "raw", str(disk.path), str(raw)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except FileNotFoundError as error:
            raise HostError("qemu-img is missing.", "Install the package qemu-utils.") from error
        except subprocess.CalledProcessError as error:
            raise BuildError(f"qemu-img could not read {disk.path}: {error.stderr.strip()}.") from error
        with raw.open("rb") as file:
            first, _ = PARTITION.unpack_from(file.read(SECTOR), 446 + 16)
            _Rofs(file, first * SECTOR).write(out)


@dataclass(frozen=True, slots=True)
class _Inode:
    mode: int
    at: int
    count: int


class _Rofs:
    """A rofs that starts at byte `start` of a file."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        self._file, self._start = file, start
        _, version, block, first, _, entries, links, inodes = SUPERBLOCK.unpack(self._read(0, SUPERBLOCK.size))
        if version != 1 or block != SECTOR:
            raise BuildError(f"There is no rofs of version 1 with blocks of {SECTOR} bytes on the disk.")
        file.seek(start + first * SECTOR)
        self._entries: list[tuple[int, str]] = []
        for _ in range(entries):
            (number,) = struct.unpack("<Q", file.read(8))
            self._entries.append((number, self._text()))
        self._links = [self._text() for _ in range(links)]
        self._inodes: dict[int, _Inode] = {}
        for _ in range(inodes):
            mode, number, where, count = INODE.unpack(file.read(INODE.size))
            self._inodes[number] = _Inode(mode, where, count)

    def write(self, out: Path) -> None:
        """Write all files into a new folder."""
        self._write(self._inodes[1], out)

    def _write(self, inode: _Inode, out: Path) -> None:
        if S_ISDIR(inode.mode):
            out.mkdir()
            for number, name in self._entries[inode.at : inode.at + inode.count]:
                if "/" in name or name in ("", ".", ".."):
                    raise BuildError(f"The rofs has a file named {name!r}.")
                self._write(self._inodes[number], out / name)
        elif S_ISLNK(inode.mode):
            out.symlink_to(self._links[inode.at])
        else:
            out.write_bytes(self._read(inode.at * SECTOR, inode.count))
            out.chmod(0o755)

    def _read(self, at: int, count: int) -> bytes:
        self._file.seek(self._start + at)
        return self._file.read(count)

    def _text(self) -> str:
        """The next string; its length precedes it."""
        (length,) = struct.unpack("<H", self._file.read(2))
        return self._file.read(length).decode()
