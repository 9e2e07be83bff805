"""A machine fitted as its cell's variant, and the program that it is for, want it."""

from dataclasses import replace

from harness.core.machine import Disk, Machine
from harness.core.variants import machine_profile_of
from harness.host.cache import Cache
from harness.kernels.data_disks import empty_disk, ext_disk, shared_folder

SECOND_DISKS = {"blank": empty_disk, "ext": ext_disk}
"""What a variant's second disk holds, and who makes it."""


def apply_profile(machine: Machine, needed: str, cache: Cache) -> Machine:
    """The machine with its cell's fittings and those of the variant `needed`. Raises `HostError` where a second
    disk can't be made, `CellError` for an unknown variant."""
    cell = machine.image.cell
    fittings = machine_profile_of(cell, needed)
    share = machine.image.share or (shared_folder(cache) if fittings.devices.share else None)
    return replace(
        machine,
        cpus=max(machine.cpus, fittings.cpus),
        memory=max(machine.memory, fittings.memory),
        network=machine.network or fittings.network,
        disks=machine.disks + _second(fittings.second, cache),
        devices=fittings.devices,
        share=share,
    )


def _second(holds: str, cache: Cache) -> tuple[Disk, ...]:
    return (Disk(SECOND_DISKS[holds](cache)),) if holds else ()
