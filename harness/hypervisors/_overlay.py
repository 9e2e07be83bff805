"""A disk's overlay in a file without a name: whoever is killed at whatever moment, nothing is left of it.

QEMU's own `snapshot=on` makes a named file and removes the name a moment later: a QEMU that is killed in between
leaves it. Source: QEMU's docs/interop/qcow2.txt.
"""

import os
import struct
import tempfile
from pathlib import Path

from harness.machine import Disk

CLUSTER = 1 << 16  # bytes
MAGIC = b"QFI\xfb"
HEADER = struct.Struct(">4sIQIIQIIQQIIQQQQII")
FORMAT_OF_BACKING = 0xE2792ACA
REACH_OF_L1_ENTRY = CLUSTER * CLUSTER // 8  # bytes of the disk


def open_overlay(disk: Disk) -> tuple[int, int]:
    """An empty qcow2 overlay of the disk, in the folder for temporary files: a descriptor to read and write it,
    and one to read it, which QEMU begins with."""
    with tempfile.TemporaryFile() as file:  # made with O_TMPFILE
        write_overlay(disk, file.fileno())
        return os.dup(file.fileno()), os.open(f"/proc/self/fd/{file.fileno()}", os.O_RDONLY | os.O_CLOEXEC)


def write_overlay(disk: Disk, file: int) -> None:
    """Make the empty file an overlay of the disk: a header, refcounts of four clusters, an empty L1 table."""
    size = _size(disk)
    backing = str(disk.path.resolve()).encode()
    name = disk.format.encode()
    extensions = struct.pack(">II", FORMAT_OF_BACKING, len(name)) + name.ljust(-(-len(name) // 8) * 8, b"\0")
    extensions += bytes(8)
    l1_entries = -(-size // REACH_OF_L1_ENTRY)
    header = HEADER.pack(
        MAGIC, 3, HEADER.size + len(extensions), len(backing), 16, size, 0, l1_entries, 3 * CLUSTER,
        1 * CLUSTER, 1, 0, 0, 0, 0, 0, 4, HEADER.size,
    )  # fmt: skip
    os.pwrite(file, header + extensions + backing, 0)
    os.pwrite(file, struct.pack(">Q", 2 * CLUSTER), CLUSTER)
    os.pwrite(file, struct.pack(">4H", 1, 1, 1, 1), 2 * CLUSTER)
    os.truncate(file, 4 * CLUSTER)


def _size(disk: Disk) -> int:
    """The size of the disk that the guest sees, in bytes."""
    if disk.format == "qcow2":
        with Path(disk.path).open("rb") as file:
            size: int = HEADER.unpack(file.read(HEADER.size))[5]
            return size
    return -(-disk.path.stat().st_size // 512) * 512
