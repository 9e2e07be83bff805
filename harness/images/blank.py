"""An empty disk with one partition, for tests that want a block device and no files."""

import struct
from pathlib import Path

from harness.cache import Cache

SECTOR = 512
PARTITION_START = 2048  # sectors, as every partitioning tool aligns
SIZE = 64 << 20  # bytes of the partition


def blank_disk(cache: Cache) -> Path:
    """A raw disk with a partition of 64 MiB, zeros but for its partition table; the same file for every asker."""
    parts = {"size": SIZE, "start": PARTITION_START, "form": 2}
    return cache.get("blank-disk", parts, lambda out: _write(out / "disk.raw")) / "disk.raw"


def _write(path: Path) -> None:
    """Source: the layout of a DOS master boot record: four 16-byte entries from byte 446, then 55 AA.

    The partition is the second entry, as on OSv's own disks (vblk0.1); OSv passes over one whose CHS start is 0.
    """
    entry = bytes(16) + struct.pack("<B3sB3sII", 0, b"\0\1\0", 0x83, bytes(3), PARTITION_START, SIZE // SECTOR)
    with path.open("wb") as disk:
        disk.truncate(SIZE + PARTITION_START * SECTOR)
        disk.seek(446)
        disk.write(entry.ljust(64, b"\0") + b"\x55\xaa")
