"""Rejects machines with features that a hypervisor lacks, before anything is started, with advice."""

from dataclasses import replace

from harness.core.errors import HypervisorError
from harness.core.machine import Devices, Machine

USUAL = Devices()


def reject_unsupported(machine: Machine, hypervisor: str, disk: str) -> None:
    """Raise `HypervisorError` if the machine has a control line, is deterministic, or has kinds of devices that
    the hypervisor lacks: it has `disk` disks, and boards of its own."""
    if machine.control:
        raise HypervisorError(
            f"{hypervisor} has no virtio-serial port by which a guest's agent could be told what to run.",
            "Boot the machine without a control line, or on qemu.",
        )
    if machine.deterministic:
        raise HypervisorError(f"{hypervisor} does not count instructions.", "Count them on qemu.")
    devices = machine.devices
    if replace(devices, board="", disk=USUAL.disk) != USUAL or devices.disk not in (disk, USUAL.disk):
        raise HypervisorError(
            f"{hypervisor} has {disk} disks and no choice of devices: {devices}.",
            "Leave the variant out, or boot the machine on qemu.",
        )


def reject_network(machine: Machine, hypervisor: str) -> None:
    """Raise `HypervisorError` if the machine has a network: the hypervisor's networks belong to the whole host."""
    if machine.network:
        raise HypervisorError(
            f"A network of {hypervisor} is one of the whole host, and no guest of this harness may be on that.",
            "Boot the machine without a network, or on qemu.",
        )
