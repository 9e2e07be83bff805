"""Converts copies of a machine's disks to VMDKs, the bootable one first."""

from pathlib import Path

from harness.core.machine import Machine
from harness.vm.common.command_line_tool import run_tool
from harness.vm.disks.bootable import other_disks, write_bootable
from harness.vm.disks.raw_copy import write_raw


def write_vmdks(machine: Machine, folder: Path) -> list[str]:
    """Write them to the folder; returns their names. Raises `HypervisorError` or `HostError`."""
    raw = folder / "raw"
    write_bootable(machine, raw)
    names = [_converted(raw, "disk0.vmdk")]
    for index, disk in enumerate(other_disks(machine), start=1):
        write_raw(disk, str(raw))
        names.append(_converted(raw, f"disk{index}.vmdk"))
    return names


def _converted(raw: Path, name: str) -> str:
    run_tool(["qemu-img", "convert", "-f", "raw", "-O", "vmdk", str(raw), str(raw.with_name(name))])
    raw.unlink()
    return name
