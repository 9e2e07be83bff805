"""HyperKit: runs on macOS only, because it needs Hypervisor.framework. Its command line is here, and was never
tried.

Source: HyperKit's README and src/lib/firmware/kexec.c, which loads bzImages, and fbsd.c; OSv has no kernel for
either, so a guest would boot from a disk, which HyperKit does through a bootrom of the user's.
"""

import platform

from harness.core.errors import HostError
from harness.core.machine import Machine
from harness.vm.base import Vm


def command_line(machine: Machine, bootrom: str, disks: list[str]) -> list[str]:
    """HyperKit's command line: ACPI, HPET, AHCI disks, the serial line on its standard input and output."""
    words = ["hyperkit", "-A", "-H", "-P", "-c", str(machine.cpus), "-m", f"{machine.memory}M"]
    words += ["-s", "0:0,hostbridge", "-s", "31,lpc", "-l", "com1,stdio"]
    for index, disk in enumerate(disks):
        words += ["-s", f"{2 + index}:0,ahci-hd,{disk}"]
    return [*words, "-f", f"bootrom,{bootrom},,"]


class Hyperkit:
    """Raises the reason why it can't start a machine."""

    name = "hyperkit"

    def start(self, machine: Machine) -> Vm:
        raise HostError(
            f"HyperKit runs on macOS, and this host is {platform.system()}.",
            "Run the cell on another hypervisor: qemu shows the same AHCI disk and HPET.",
        )


def driver() -> Hyperkit:
    """The driver for the axis value `hyperkit`."""
    return Hyperkit()
