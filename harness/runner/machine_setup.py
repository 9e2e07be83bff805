"""Adapts a machine to its cell's variant and to the program that it runs."""

from dataclasses import replace

from harness.core.machine import Disk, Machine
from harness.core.variants import machine_profile_of
from harness.host.cache import Cache
from harness.kernels.data_disks import empty_disk, ext_disk, shared_folder

SECOND_DISKS = {"blank": empty_disk, "ext": ext_disk}
"""The content of a variant's second disk, and the function that makes it."""


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


def _second(holds: str, cache: Cache) -> tuple[Disk, ...]:
    return (Disk(SECOND_DISKS[holds](cache)),) if holds else ()
