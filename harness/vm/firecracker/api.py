"""A machine as requests to Firecracker: pure functions, so that they can be read, tested and checked by its
schema.

Source: Firecracker's src/firecracker/swagger/firecracker.yaml, of 1.17 and of 0.23, which OSv's own
scripts/firecracker.py fetches. Between the two `ht_enabled` was removed, and a snapshot's RAM got a backend.
"""

from collections.abc import Mapping, Sequence

from harness.core.machine import Machine
from harness.host.netns import GUEST_MAC, TAP
from harness.vm.common.kernel_args import command_line
from harness.vm.common.rest_client import Request
from harness.vm.common.sandbox import INITRD, KERNEL, disk_name

Version = tuple[int, ...]

WORDS: Mapping[str, str] = {"osv": "--nopci", "linux": "reboot=k pci=off"}
"""Kernel arguments for this board: it has no PCI, and only a reset by the keyboard controller ends it."""

ARM_CONSOLE: Mapping[str, str] = {"osv": "console=tty ", "linux": ""}
"""OSv's for aarch64. Source: scripts/firecracker.py."""

DESCRIBE = Request("GET", "/")
START = Request("PUT", "/actions", {"action_type": "InstanceStart"})
POWER_BUTTON = Request("PUT", "/actions", {"action_type": "SendCtrlAltDel"})
PAUSE = Request("PATCH", "/vm", {"state": "Paused"})
RESUME = Request("PATCH", "/vm", {"state": "Resumed"})
STATE, RAM = "state", "ram"


def configuration(machine: Machine, version: Version) -> list[Request]:
    """The requests that make a fresh Firecracker of that version the machine; its files are links in its
    folder."""
    size: dict[str, object] = {"vcpu_count": machine.cpus, "mem_size_mib": machine.memory}
    if version < (1,):
        size["ht_enabled"] = False
    kernel = machine.image.cell.kernel
    arm = ARM_CONSOLE[kernel] if machine.image.cell.arch == "aarch64" else ""
    source = {"kernel_image_path": KERNEL, "boot_args": command_line(machine, arm + WORDS[kernel])}
    if machine.image.initrd:
        source["initrd_path"] = INITRD
    requests = [Request("PUT", "/machine-config", size), Request("PUT", "/boot-source", source)]
    for index in range(len(machine.image.disks) + len(machine.disks)):
        drive = {
            "drive_id": disk_name(index), "path_on_host": disk_name(index), "is_root_device": False,
            "is_read_only": False,
        }  # fmt: skip
        requests.append(Request("PUT", f"/drives/{disk_name(index)}", drive))
    if machine.network:
        card = {"iface_id": "eth0", "host_dev_name": TAP, "guest_mac": GUEST_MAC}
        requests.append(Request("PUT", "/network-interfaces/eth0", card))
    return requests


def snapshot() -> Sequence[Request]:
    """The requests that stop a guest and write its state and its RAM."""
    files = {"snapshot_type": "Full", "snapshot_path": STATE, "mem_file_path": RAM}
    return PAUSE, Request("PUT", "/snapshot/create", files)


def restore(version: Version) -> Request:
    """The request that makes a fresh Firecracker a stopped clone of the guest, with a private copy of its RAM."""
    if version < (1,):
        return Request("PUT", "/snapshot/load", {"snapshot_path": STATE, "mem_file_path": RAM})
    ram = {"backend_path": RAM, "backend_type": "File"}
    return Request("PUT", "/snapshot/load", {"snapshot_path": STATE, "mem_backend": ram, "resume_vm": False})
