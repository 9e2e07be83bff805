"""A machine's disks as VMDKs of copies, the bootable one first, for hypervisors that know those."""

from pathlib import Path

from harness.hypervisors._bootable_disk import other_disks, write_bootable
from harness.hypervisors._commands import said
from harness.hypervisors._raw_disk import write_raw
from harness.machine import Machine


def write_vmdks(machine: Machine, folder: Path) -> list[str]:
    """Write them to the folder; their names in it. Raises `HypervisorError`, `HostError`."""
    raw = folder / "raw"
    write_bootable(machine, raw)
    names = [_converted(raw, "disk0.vmdk")]
    for index, disk in enumerate(other_disks(machine), start=1):
        write_raw(disk, str(raw))
        names.append(_converted(raw, f"disk{index}.vmdk"))
    return names


def _converted(raw: Path, name: str) -> str:
    said(["qemu-img", "convert", "-f", "raw", "-O", "vmdk", str(raw), str(raw.with_name(name))])
    raw.unlink()
    return name
