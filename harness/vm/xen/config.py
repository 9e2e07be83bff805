"""A machine as a configuration of xl: a pure function, so that it can be read, tested and checked by xl's own
parser.

Source: xl.cfg(5), xl-disk-configuration(5); OSv's scripts/run.py for hvm; loader.elf's PVH note for pvh.
"""

from collections.abc import Sequence

from harness.core.errors import CellError, HypervisorError
from harness.core.machine import Disk, Machine
from harness.vm.common.unsupported import reject_network, reject_unsupported

PVH, HVM = "pvh", "hvm"


def kind(machine: Machine) -> str:
    """The board that the machine names; else `hvm` for OSv on x86_64, and `pvh` for others. Raises `CellError` for
    an unknown board.

    As pvh OSv boots on x86_64 too, but without a console or disks: its console is the serial port, and it finds
    Xen's disks by a PCI device. Source: OSv's arch/x64/arch-setup.cc, drivers/xenplatform-pci.cc.
    """
    cell = machine.image.cell
    found = machine.devices.board or (HVM if (cell.kernel, cell.arch) == ("osv", "x86_64") else PVH)
    if found not in (PVH, HVM):
        raise CellError(f"There is no Xen guest of type {found!r} here.", f"Known are: {PVH}, {HVM}.")
    return found


def check(machine: Machine) -> None:
    """Raise `HypervisorError` if the machine has what a Xen guest lacks here."""
    reject_unsupported(machine, "Xen", "xen-blk")
    reject_network(machine, "Xen")


def configuration(machine: Machine, name: str, disks: Sequence[str]) -> str:
    """The text of the file; `disks` are the paths of raw disks. A pvh guest gets the kernel itself; an hvm guest
    boots from its first disk, whose boot loader has the command line."""
    rows = {
        "name": name,
        "type": kind(machine),
        "memory": machine.memory,
        "vcpus": machine.cpus,
        "disk": [f"format=raw, vdev={_device(machine, index)}, access=rw, target={disk}"
                 for index, disk in enumerate(disks)],
        "on_poweroff": "destroy",
        "on_reboot": "destroy",
        "on_crash": "destroy",
        "on_watchdog": "destroy",
    }  # fmt: skip
    if kind(machine) == PVH:
        rows |= {"kernel": str(machine.image.kernel.resolve()), "cmdline": machine.cmdline}
        if machine.image.initrd:
            rows["ramdisk"] = str(machine.image.initrd.resolve())
    else:
        rows |= {"serial": "pty", "boot": "c", "xen_platform_pci": 1, "acpi": 1, "apic": 1}
        rows |= {"vnc": 0, "vga": "none"}  # else a VNC server listens
    return "".join(f"{key} = {_value(value)}\n" for key, value in rows.items())


def all_disks(machine: Machine) -> tuple[Disk, ...]:
    """The machine's disks, the image's own first."""
    return (*machine.image.disks, *machine.disks)


def _device(machine: Machine, index: int) -> str:
    return f"{'xvd' if kind(machine) == PVH else 'hd'}{chr(ord('a') + index)}"


def _value(value: object) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_value(row) for row in value) + "]"
    if isinstance(value, int):
        return str(value)
    text = str(value)
    if '"' in text and "'" in text:
        raise HypervisorError(f"xl's configuration can't hold both kinds of quotes: {text}")
    quote = "'" if '"' in text else '"'
    return quote + text + quote
