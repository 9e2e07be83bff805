"""Writes disks with one partition, laid out as OSv expects: empty, or with a filesystem's image."""

import shutil
import struct
from pathlib import Path

from harness.host.cache import Cache

SECTOR = 512
PARTITION_START = 2048  # sectors, as every partitioning tool aligns
SIZE = 64 << 20  # bytes of the empty partition


def blank_disk(cache: Cache) -> Path:
    """A raw disk with a partition of 64 MiB, zeros except for its partition table; all callers share the file."""
    parts = {"size": SIZE, "start": PARTITION_START, "form": 2}
    return cache.get("blank-disk", parts, lambda out: _write(out / "disk.raw", SIZE)) / "disk.raw"


def write_partitioned(filesystem: Path, out: Path) -> None:
    """Write a raw disk whose partition holds the image of a filesystem."""
    _write(out, filesystem.stat().st_size)
    with filesystem.open("rb") as source, out.open("r+b") as disk:
        disk.seek(PARTITION_START * SECTOR)
        shutil.copyfileobj(source, disk)


def _write(path: Path, size: int) -> None:
    """Write the disk with its partition table. Source: the DOS master boot record has four 16-byte entries from
    byte 446, then 55 AA.

    The partition is the second entry, as on OSv's own disks (vblk0.1); OSv skips one whose CHS start is 0.
    """
    sectors = -(-size // SECTOR)
    entry = bytes(16) + struct.pack("<B3sB3sII", 0, b"\0\1\0", 0x83, bytes(3), PARTITION_START, sectors)
    with path.open("wb") as disk:
        disk.truncate((PARTITION_START + sectors) * SECTOR)
        disk.seek(446)
        disk.write(entry.ljust(64, b"\0") + b"\x55\xaa")
