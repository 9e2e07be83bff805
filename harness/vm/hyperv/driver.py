"""Hyper-V: runs on Windows only, so none of its cells can run; the host's check finds that out by trying.

Its clock and its enlightenments exist on Linux too: QEMU offers them under KVM (`hv-time`), by the driver of qemu.
Source: QEMU's docs/system/i386/hyperv.rst.
"""

import platform

from harness.core.errors import HostError
from harness.core.machine import Machine
from harness.vm.base import Vm


class Hyperv:
    """Raises the reason why it can't start a machine."""

    name = "hyperv"

    def start(self, machine: Machine) -> Vm:
        raise HostError(
            f"Hyper-V runs on Windows, and this host is {platform.system()}.",
            "Run the cell on qemu; the profile hyperv boots there too, with its files in RAM.",
        )


def driver() -> Hyperv:
    """The driver for the axis value `hyperv`."""
    return Hyperv()
