"""A machine fitted as its cell's variant, and the program that it is for, want it."""

from dataclasses import replace
from pathlib import Path

from harness.core.machine import Disk, Machine
from harness.core.variants import machine_profile_of
from harness.host.cache import Cache
from harness.kernels.rootfs.disk_image import write_partitioned
from harness.kernels.rootfs.filesystems import File, Folder, write_ext4

GREETING = "of the harness\n"
"""What the file `greeting` of a second disk and of a share says."""
EXT_FREE = 32 << 20  # bytes
EMPTY = 576 << 20
"""Bytes of an empty second disk: OSv's misc-bdev-rw.so fills 511 MiB."""


def apply_profile(machine: Machine, needed: str, cache: Cache) -> Machine:
    """Add the machine profile of the cell and of the variant `needed`. Raises `HostError` if a second disk can't
    be made, `CellError` for an unknown variant."""
    cell = machine.image.cell
    profile = machine_profile_of(cell, needed)
    share = machine.image.share or (shared_folder(cache) if profile.devices.share else None)
    return replace(
        machine,
        cpus=max(machine.cpus, profile.cpus),
        memory=max(machine.memory, profile.memory),
        network=machine.network or profile.network,
        disks=machine.disks + _second(profile.second, cache),
        devices=profile.devices,
        share=share,
    )


def shared_folder(cache: Cache) -> Path:
    """A folder to be shared, with the file `greeting`; guests only read it."""
    return cache.get("share", {"greeting": GREETING}, _write_share) / "root"


def _second(holds: str, cache: Cache) -> tuple[Disk, ...]:
    if not holds:
        return ()
    if holds == "blank":
        return (Disk(cache.get("empty-disk", {"size": EMPTY}, _write_empty) / "disk.raw"),)
    parts = {"free": EXT_FREE, "greeting": GREETING, "form": 1}
    return (Disk(cache.get("ext-disk", parts, _write_ext) / "disk.raw"),)


def _write_share(out: Path) -> None:
    (out / "root").mkdir()
    (out / "root/greeting").write_text(GREETING)


def _write_empty(out: Path) -> None:
    with (out / "disk.raw").open("wb") as disk:
        disk.truncate(EMPTY)


def _write_ext(out: Path) -> None:
    write_ext4({"/greeting": File(GREETING.encode()), "/empty": Folder()}, out / "filesystem", EXT_FREE)
    write_partitioned(out / "filesystem", out / "disk.raw")
    (out / "filesystem").unlink()
