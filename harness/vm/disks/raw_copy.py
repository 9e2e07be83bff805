"""Copies disks to unnamed raw files, for hypervisors without overlays.

Nothing is left of them, even if the harness is killed. Holes stay holes, so a copy takes only the space of the
disk's content.
"""

import os
import subprocess
import tempfile
from contextlib import ExitStack

from harness.core.errors import HostError, HypervisorError
from harness.core.machine import Disk, Machine
from harness.core.text import one_line

COPY_SECONDS = 600.0


def raw_copies(machine: Machine, stack: ExitStack) -> list[int]:
    """A descriptor for each of the machine's disks, the image's own first; the stack closes them."""
    found = []
    for disk in (*machine.image.disks, *machine.disks):
        file = _itself(disk) if disk.kept else _copy(disk)
        stack.callback(os.close, file)
        found.append(file)
    return found


def write_raw(disk: Disk, target: str) -> None:
    """Write the disk's content to a raw file. Raises `HostError`, `HypervisorError`."""
    command = ["qemu-img", "convert", "-f", disk.format, "-O", "raw", str(disk.path), target]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=COPY_SECONDS,
            pass_fds=[int(target.rpartition("/")[2])] if target.startswith("/proc/self/fd/") else (),
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HostError(f"qemu-img can't be run: {error}.", "Install the package qemu-utils.") from error
    if done.returncode:
        raise HypervisorError(f"{disk.path} can't be made a raw disk: {one_line(done.stderr)[:400]}")


def _copy(disk: Disk) -> int:
    with tempfile.TemporaryFile() as file:  # made with O_TMPFILE
        write_raw(disk, f"/proc/self/fd/{file.fileno()}")
        return os.dup(file.fileno())


def _itself(disk: Disk) -> int:
    if disk.format != "raw":
        raise HypervisorError(
            f"{disk.path} is to be written and is {disk.format}, and this hypervisor writes raw disks only.",
            "Give it as a raw disk.",
        )
    return os.open(disk.path, os.O_RDWR | os.O_CLOEXEC)
