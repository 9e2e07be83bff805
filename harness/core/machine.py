"""What is booted: an image (the result of a kernel build) and a machine (an image with hardware)."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from harness.core.cell import Cell
from harness.core.schedule import Schedule

PROFILES_WITHOUT_ACPI = frozenset({"base", "microvm", "nvme", "virtio-mmio"})
"""OSv's x86_64 driver profiles that lack conf_drivers_acpi. Source: OSv's conf/profiles/x64/*.mk."""

BOARDS_WITHOUT_ACPI_OFF = frozenset({"qemu_microvm", "firecracker"})
"""Hypervisors whose x86_64 machines offer OSv no sleep state S5: they have no ACPI tables, or tables without
`_S5`."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk file. `format` is `raw` or `qcow2`. A guest's writes go to an overlay that is deleted with it, unless
    the disk is `kept`."""

    path: Path
    format: str = "raw"
    kept: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """A bootable kernel with its files.

    `kernel` is what the hypervisor loads directly. `reads_acpi` is whether the kernel finds virtio-mmio devices in
    ACPI tables; others need them on the command line. `symbols` is the unstripped ELF for backtraces. `manifest`
    lists the image's files, in the kernel's own format. `digest` is the hex SHA-256 of what it was made from.
    `facts` are shown with results (commit, toolchain, what was left out and why). `share` is the folder with its
    root, if that is shared with the guest and not on a disk.
    """

    cell: Cell
    kernel: Path
    cmdline: str
    digest: str
    disks: tuple[Disk, ...] = ()
    initrd: Path | None = None
    reads_acpi: bool = False
    symbols: Path | None = None
    manifest: Path | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    share: Path | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` reads them."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote."""

        def path(name: str) -> Path | None:
            return Path(data[name]) if data[name] is not None else None

        cell = Cell(**{**data["cell"], "options": tuple(data["cell"]["options"])})
        disks = tuple(Disk(Path(d["path"]), d["format"], d["kept"]) for d in data["disks"])
        return cls(
            cell, Path(data["kernel"]), data["cmdline"], data["digest"], disks,
            path("initrd"), data["reads_acpi"], path("symbols"), path("manifest"), dict(data["facts"]),
            path("share"),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Devices:
    """The kinds of a machine's devices; the default is what a cell without a variant has.

    `board` is a board of the hypervisor other than its default. `disk` is the kind of all disks (`virtio-blk`,
    `virtio-scsi`, `nvme`, `ahci`, `ide`, `pvscsi`), `queues` how many each has. `nic` is the network card
    (`virtio-net`, `vmxnet3`, `e1000`), `netdev` its network (`user`: QEMU's user network; `tap`, `nat`: a tap
    device with a bridge or NAT, in a namespace of the guest's own), `nic_queues` how many queues it has, and
    `vhost` whether the host's kernel moves its packets. `transport` is how virtio devices attach if not as usual
    on the board (`mmio`), `flavour` which of virtio's interfaces they have (`legacy`, `transitional`, `modern`).
    `nodes` is the number of NUMA nodes, among which cpus and memory are divided evenly. `share` is whether the
    guest gets a folder by virtio-fs, `nfs` whether there is an NFS server in its network.
    """

    board: str = ""
    disk: str = "virtio-blk"
    queues: int = 1
    nic: str = "virtio-net"
    netdev: str = "user"
    nic_queues: int = 1
    vhost: bool = False
    transport: str = ""
    flavour: str = ""
    nodes: int = 1
    balloon: bool = False
    share: bool = False
    nfs: bool = False

    @property
    def supports_snapshots(self) -> bool:
        """Whether a guest with these devices can be saved. Source: QEMU 7.2, hw/nvme/ctrl.c,
        hw/virtio/vhost-user-fs.c (`unmigratable`)."""
        return not (self.disk == "nvme" or self.share)


@dataclass(frozen=True, slots=True)
class Machine:
    """An image with the hardware on which it is booted.

    `memory` is in MiB. `forwards` are guest TCP ports, each forwarded by the hypervisor from a free port of
    127.0.0.1. `disks` come after the image's own. `accelerator` is a name that `host` has probed. `control` adds a
    second serial line, for an agent in the guest. A `deterministic` machine has no clock but its
    instruction count, and its console is read-only. With a `schedule` its vCPUs take turns by it, and on x86_64
    it draws the same random numbers in each boot; else it has none. `share` is the host's folder that it sees,
    read-only, if its devices have a share.
    """

    image: Image
    cmdline: str
    cpus: int = 1
    memory: int = 512
    accelerator: str = "tcg"
    network: bool = False
    control: bool = False
    deterministic: bool = False
    schedule: Schedule | None = None
    forwards: tuple[int, ...] = ()
    disks: tuple[Disk, ...] = ()
    devices: Devices = Devices()
    share: Path | None = None

    @property
    def powers_off_by_reset(self) -> bool:
        """Whether its kernel powers the machine off by a reset, so that a reset can be a clean end.

        A triple fault is a reset too, so a reset proves a clean end only together with the kernel's message that
        it powers off. On AArch64 PSCI powers off. On x86_64 ACPI does, if the kernel reads ACPI's tables and these
        have a sleep state S5; otherwise OSv resets the machine, by the keyboard controller or a triple fault.
        Source: OSv's arch/x64/power.cc, arch/aarch64/power.cc.
        """
        cell = self.image.cell
        if cell.arch != "x86_64" or self.image.reads_acpi:
            return False
        return cell.hypervisor in BOARDS_WITHOUT_ACPI_OFF or cell.profile in PROFILES_WITHOUT_ACPI

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, the image included."""
        return {name: _plain(value) for name, value in asdict(self).items()}

    def with_command(self, command: str) -> "Machine":
        """The same machine with `command` at the end of its kernel's command line."""
        return replace(self, cmdline=f"{self.cmdline} {command}".strip())


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value
