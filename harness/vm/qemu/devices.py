"""A machine's devices and memory as words of QEMU's command line; pure functions.

Source: QEMU 7.2, docs/system/, `-device NAME,help`; hw/virtio/virtio-pci.c for `disable-legacy`, `disable-modern`;
hw/virtio/virtio-mmio.c for `force-legacy`; OSv's drivers/virtio-mmio.cc (`version != 2`).
"""

from dataclasses import dataclass

from harness.core.machine import Devices, Disk, Machine
from harness.host.netns import TAP

FLAVOURS = {
    "legacy": ("disable-legacy=off", "disable-modern=on"),
    "transitional": ("disable-legacy=off", "disable-modern=off"),
    "modern": ("disable-legacy=on", "disable-modern=off"),
}
SHARE_TAG = "share"


@dataclass(frozen=True, slots=True)
class Memory:
    """Guest RAM in files of this path, to which the node's number is appended. `shared` writes to them; otherwise
    each process has a private copy of what it changes."""

    path: str
    shared: bool


def ram(machine: Machine, memory: Memory | None) -> list[str]:
    """The objects of the guest's RAM, one per NUMA node; none if QEMU creates it by itself."""
    nodes, size = machine.devices.nodes, machine.memory // machine.devices.nodes
    if memory:
        share = "on" if memory.shared else "off"
        where = f"size={size}M,share={share},mem-path={memory.path}"
        return [f"memory-backend-file,id=ram{node},{where}{node}" for node in range(nodes)]
    if machine.devices.share:  # virtiofsd reads and writes it
        return [f"memory-backend-memfd,id=ram{node},size={size}M,share=on" for node in range(nodes)]
    if nodes > 1:
        return [f"memory-backend-ram,id=ram{node},size={size}M" for node in range(nodes)]
    return []


def numa(machine: Machine) -> list[str]:
    """The nodes, with the cpus divided in order; empty for a machine with one node."""
    nodes, each = machine.devices.nodes, machine.cpus // machine.devices.nodes
    if nodes == 1:
        return []
    words = []
    for node in range(nodes):
        cpus = f"{node * each}-{node * each + each - 1}"
        words += ["-numa", f"node,nodeid={node},cpus={cpus},memdev=ram{node}"]
    return words


def virtio(kind: str, devices: Devices, bus: str) -> str:
    """A virtio device as it attaches to the bus, with the requested interfaces."""
    if bus != "pci" or not devices.flavour:
        return f"virtio-{kind}-{bus}"
    return ",".join((f"virtio-{kind}-{bus}", *FLAVOURS[devices.flavour]))


def devices(machine: Machine, bus: str, share: int) -> list[str]:
    """Everything but disks and network: the adapter of disks, the balloon, the share at descriptor `share`."""
    asked = machine.devices
    words = []
    if bus == "device":
        # QEMU's own default is the interface from before virtio 1.0, which OSv's driver does not know.
        legacy = "on" if asked.flavour == "legacy" else "off"
        words += ["-global", f"virtio-mmio.force-legacy={legacy}"]
    if asked.disk == "virtio-scsi":
        queues = f",num_queues={asked.queues}" if asked.queues > 1 else ""
        words += ["-device", f"{virtio('scsi', asked, bus)},id=scsi{queues}"]
    elif asked.disk == "pvscsi":
        words += ["-device", "pvscsi,id=scsi"]
    if asked.balloon:
        words += ["-device", virtio("balloon", asked, bus)]
    if share >= 0:
        words += ["-chardev", f"socket,id=share,fd={share}"]
        words += ["-device", f"vhost-user-fs-{bus},chardev=share,tag={SHARE_TAG}"]
    return words


def network(machine: Machine, bus: str) -> list[str]:
    """The network card and what it is connected to; empty for a machine without a network."""
    if not machine.network:
        return []
    asked = machine.devices
    card = virtio("net", asked, bus) if asked.nic == "virtio-net" else asked.nic
    if bus == "pci":  # no guest boots from a network, and not every host has the package with the cards' ROMs
        card += ",romfile="
    if asked.netdev == "user":
        forwards = "".join(f",hostfwd=tcp:127.0.0.1:0-:{port}" for port in machine.forwards)
        # A guest with forwarded ports is reached from this host's loopback, and reaches nothing itself.
        restrict = ",restrict=on" if forwards else ""
        return ["-netdev", f"user,id=net0{restrict}{forwards}", "-device", f"{card},netdev=net0"]
    behind = f"tap,id=net0,ifname={TAP},script=no,downscript=no" + (",vhost=on" if asked.vhost else "")
    if asked.nic_queues > 1:
        behind += f",queues={asked.nic_queues}"
        # On PCI each queue has an interrupt per direction, besides those for configuration and control.
        card += ",mq=on" + (f",vectors={2 * asked.nic_queues + 2}" if bus == "pci" else "")
    return ["-netdev", behind, "-device", f"{card},netdev=net0"]


def disk(devices: Devices, bus: str, index: int, disk: Disk) -> list[str]:
    """A disk; the first has index 0. A guest's writes go to a temporary overlay unless it is kept."""
    snapshot = "off" if disk.kept else "on"
    path = str(disk.path).replace(",", ",,")
    drive = f"if=none,id=disk{index},format={disk.format},snapshot={snapshot},file={path}"
    return ["-drive", drive, "-device", f"{_kind(devices, bus, index)},drive=disk{index}"]


def _kind(devices: Devices, bus: str, index: int) -> str:
    queues = devices.queues
    match devices.disk:
        case "virtio-blk":
            return virtio("blk", devices, bus) + (f",num-queues={queues}" if queues > 1 else "")
        case "nvme":
            return f"nvme,serial=disk{index}" + (f",max_ioqpairs={queues}" if queues > 1 else "")
        case "virtio-scsi" | "pvscsi":
            return f"scsi-hd,bus=scsi.0,scsi-id={index},lun=0"
        case _:  # q35's controller has one disk per bus, the older PC's the master of the first bus
            return f"ide-hd,bus=ide.{index}"
