"""A raw disk that a PC's firmware boots, with the machine's command line where OSv's boot loader reads it.

OSv's build puts its kernel before the files on every x86_64 disk, and leaves a disk with only the kernel if that
contains the files. Source: OSv's scripts/build, scripts/imgedit.py (setargs), arch/x64/boot16.S.
"""

from dataclasses import replace
from pathlib import Path

from harness.core.errors import HypervisorError
from harness.core.machine import Disk, Machine
from harness.vm.disks.raw_copy import write_raw

COMMAND_LINE_AT = 512  # bytes
LONGEST_COMMAND_LINE = 63 * 512 - 1  # bytes; the kernel follows after 64 sectors
BOOT_SIGNATURE = (510, b"\x55\xaa")
ALIGNMENT = 1 << 20  # bytes; some hypervisors want whole MiB


def boot_disk(machine: Machine) -> Disk:
    """The disk that the machine boots from. Raises `HypervisorError` if the image has none."""
    image = machine.image
    disk = image.disks[0] if image.disks else Disk(image.kernel.with_name("loader.img"))
    if image.cell.kernel != "osv" or not disk.path.exists():
        raise HypervisorError(
            f"{image.cell.hypervisor} boots from a disk, and this image has none that boots.",
            "Boot it on qemu, or use an image that OSv's own build made.",
        )
    return disk


def write_bootable(machine: Machine, target: Path) -> None:
    """Write the machine's boot disk, with its command line, to a raw file.

    Raises `HypervisorError` if it does not boot, or if the command line is too long.
    """
    command_line = machine.cmdline.encode()
    if len(command_line) > LONGEST_COMMAND_LINE:
        raise HypervisorError(f"The command line has {len(command_line)} bytes, and {LONGEST_COMMAND_LINE} fit.")
    write_raw(replace(boot_disk(machine), kept=False), str(target))
    at, signature = BOOT_SIGNATURE
    with target.open("r+b") as file:
        file.seek(at)
        if file.read(len(signature)) != signature:
            raise HypervisorError(
                f"{boot_disk(machine).path} holds files only: its first sector is no boot sector.",
                "Boot it on a hypervisor that loads a kernel file, or use an image that OSv's own build made.",
            )
        file.seek(COMMAND_LINE_AT)
        file.write(command_line + b"\0")
        file.truncate(-(-target.stat().st_size // ALIGNMENT) * ALIGNMENT)


def other_disks(machine: Machine) -> tuple[Disk, ...]:
    """The machine's disks after its boot disk."""
    return (*machine.image.disks[1:], *machine.disks)
