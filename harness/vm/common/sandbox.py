"""Runs a process in namespaces of its own: a folder that nobody else sees, and a network with only its guest.

The folder is a tmpfs that is detached from its mount point before the process starts. It is the process's working
folder, is reached from outside through /proc, and vanishes with the process, whoever is killed at whatever moment.
So does the network: its tap device and its addresses belong to the namespace. A hypervisor's files are symbolic
links in that folder, because some hypervisors need the same names each time.

Source: namespaces(7), mount(2) on MNT_DETACH, proc(5) on /proc/PID/cwd.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.core.machine import Machine
from harness.host.netns import Wiring, script, userns_flags
from harness.host.process.die_with_parent import die_with_parent

KERNEL, INITRD = "kernel", "initrd"
MOUNT_POINT = "/mnt"  # any folder: nothing stays mounted there

ENTER = f"""set -e
mount -t tmpfs -o size=256k,mode=700 none {MOUNT_POINT}
cd {MOUNT_POINT}
umount -l {MOUNT_POINT}
while [ "$1" != -- ]; do ln -s "$2" "$1"; shift 2; done
shift
"""
LEAVE = 'PWD=/proc/self/cwd exec "$@"'  # for shells that look up the name of the folder: it has none


def in_sandbox(command: Sequence[str], files: Mapping[str, str], network: bool) -> list[str]:
    """The command line that runs `command` in a sandbox in which `files` are links, from name to target.

    It sets the parent-death signal again, because the kernel clears it when a user namespace grants new rights.
    """
    words = ENTER + (script(Wiring.PLAIN) if network else "") + LEAVE
    links = [word for pair in files.items() for word in pair]
    return [
        "unshare", *userns_flags(), "--mount", "--net", "--propagation", "private", "--",
        "sh", "-c", words, "sandbox", *links, "--", *die_with_parent(command),
    ]  # fmt: skip


def disk_name(index: int) -> str:
    """The link to a disk; a snapshot remembers the name."""
    return f"disk{index}"


def parts_of(machine: Machine, disks: Sequence[int]) -> dict[str, str]:
    """The links to the machine's files; its disks are descriptors that the process inherits."""
    links = {disk_name(index): f"/proc/self/fd/{fd}" for index, fd in enumerate(disks)}
    links[KERNEL] = str(machine.image.kernel.resolve())
    if machine.image.initrd:
        links[INITRD] = str(machine.image.initrd.resolve())
    return links


def inside(pid: int, name: str) -> Path:
    """A file of the sandbox's folder, as seen from outside."""
    return Path(f"/proc/{pid}/cwd/{name}")
