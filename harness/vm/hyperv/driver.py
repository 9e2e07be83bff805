"""Hyper-V: Windows's only. No Linux host has it, so no cell of it can run; the host's probe says so by trying.

What of it can be had on Linux is its clock and its enlightenments, which QEMU shows under KVM (`hv-time`): the
driver for those is qemu's. Source: QEMU's docs/system/i386/hyperv.rst.
"""

import platform

from harness.core.errors import HostError
from harness.core.machine import Machine
from harness.vm.base import Vm


class Hyperv:
    """Says why it can't start a machine."""

    name = "hyperv"

    def start(self, machine: Machine) -> Vm:
        raise HostError(
            f"Hyper-V runs on Windows, and this host is {platform.system()}.",
            "Run the cell on qemu; the profile hyperv boots there too, with its files in RAM.",
        )


def driver() -> Hyperv:
    """The driver for the axis value `hyperv`."""
    return Hyperv()
