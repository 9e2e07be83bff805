"""The machine variants of variants.toml: their devices, and their minimum hardware."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from harness.core import project
from harness.core.cell import Cell
from harness.core.errors import CellError
from harness.core.machine import Devices
from harness.core.suggestions import did_you_mean

DEVICES = frozenset(field.name for field in fields(Devices))


USUAL = Devices()


@dataclass(frozen=True, slots=True)
class MachineProfile:
    """The hardware that a variant requires: its devices, at least so many cpus and MiB of memory, a network, the
    content of a second disk (`blank` or `ext`), if it has one, and arguments for OSv's kernel command line."""

    devices: Devices = USUAL
    cpus: int = 1
    memory: int = 0
    network: bool = False
    second: str = ""
    osv: str = ""


def machine_profile_of(cell: Cell, needed: str = "") -> MachineProfile:
    """The profile of a cell's machines: of its driver profile, then of its variant, then of the variant that is
    `needed` by what runs there. A virtio-fs root is a share. Raises `CellError` for an unknown variant."""
    on_qemu = cell.hypervisor == "qemu" and cell.kernel == "osv"
    by_profile = _data()["profile"].get(cell.profile, "") if on_qemu else ""
    profile = MachineProfile()
    for name in (by_profile, cell.variant, needed):
        profile = _with(profile, _row(name)) if name else profile
    if cell.fs == "virtiofs":
        profile = replace(profile, devices=replace(profile.devices, share=True))
    return profile


def described(name: str) -> str:
    """What the variant is, as the end of a sentence that begins with "its"."""
    return str(_row(name)["what"])


def names() -> list[str]:
    """All variants, in the order of the file."""
    return list(_data()["variant"])


def with_second_disk(words: str, disks: int) -> str:
    """OSv's words with its name of a variant's second disk in place of `{second_disk}`; it comes after the image's
    own `disks`, of which a cell without a root on a disk has none."""
    return words.replace("{second_disk}", f"vblk{disks}")


def _with(profile: MachineProfile, row: Mapping[str, Any]) -> MachineProfile:
    changes = {name: value for name, value in row.items() if name in DEVICES}
    return MachineProfile(
        replace(profile.devices, **changes),
        max(profile.cpus, row.get("cpus", 1)),
        max(profile.memory, row.get("memory", 0)),
        profile.network or row.get("network", False),
        row.get("second", profile.second),
        f"{profile.osv} {row.get('osv', '')}".strip(),
    )


def _row(name: str) -> Mapping[str, Any]:
    rows: Mapping[str, Mapping[str, Any]] = _data()["variant"]
    if name not in rows:
        raise CellError(f"There is no variant {name!r}.", did_you_mean(name, rows))
    return rows[name]


def _data() -> Mapping[str, Any]:
    return _read(project.file("variants.toml"))


@cache
def _read(file: Path) -> Mapping[str, Any]:
    return MappingProxyType(project.read(file))
