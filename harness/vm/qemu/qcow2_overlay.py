"""A disk's overlay in an unnamed file: whoever is killed at whatever moment, nothing remains of it.

QEMU's own `snapshot=on` creates a named file and removes the name a moment later: a QEMU that is killed in between
leaves it behind. Source: QEMU's docs/interop/qcow2.txt.
"""

import os
import struct
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from harness.core.machine import Disk, Machine
from harness.vm.base import Template

CLUSTER = 1 << 16  # bytes
MAGIC = b"QFI\xfb"
HEADER = struct.Struct(">4sIQIIQIIQQIIQQQQII")
FORMAT_OF_BACKING = 0xE2792ACA
REACH_OF_L1_ENTRY = CLUSTER * CLUSTER // 8  # bytes of the disk


def open_overlay(disk: Disk) -> tuple[int, int]:
    """Create an empty qcow2 overlay of the disk, in the folder for temporary files. Returns a read-write
    descriptor, and a read-only one, which QEMU opens first."""
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
    """The size in bytes of the disk that the guest sees."""
    if disk.format == "qcow2":
        with Path(disk.path).open("rb") as file:
            size: int = HEADER.unpack(file.read(HEADER.size))[5]
            return size
    return -(-disk.path.stat().st_size // 512) * 512


def overlay_of(template: Template, index: int) -> Path:
    """The path of a disk's overlay in a snapshot."""
    return template.folder / f"disk{index}.qcow2"


def with_overlays(template: Template, kept: bool) -> Machine:
    """The snapshot's machine with the overlays as its image's disks; `kept` writes to them."""
    image = template.machine.image
    disks = tuple(Disk(overlay_of(template, index), "qcow2", kept) for index in range(len(image.disks)))
    return replace(template.machine, image=replace(image, disks=disks))


def with_unnamed_overlays(machine: Machine, stack: ExitStack) -> tuple[Machine, dict[int, tuple[int, ...]]]:
    """The machine with an overlay for each disk whose writes are not kept, and the overlays' descriptors by the
    disk's index; the stack closes them."""
    overlays: dict[int, tuple[int, ...]] = {}

    def over(index: int, disk: Disk) -> Disk:
        if disk.kept:
            return disk
        overlays[index] = open_overlay(disk)
        for fd in overlays[index]:
            stack.callback(os.close, fd)
        return Disk(Path(f"/dev/fdset/{index}"), "qcow2", kept=True)

    count = len(machine.image.disks)
    disks = [over(index, disk) for index, disk in enumerate((*machine.image.disks, *machine.disks))]
    image = replace(machine.image, disks=tuple(disks[:count]))
    return replace(machine, image=image, disks=tuple(disks[count:])), overlays
