"""Kernel arguments for a machine whose network has no DHCP."""

from harness.core.machine import Machine
from harness.host.netns import GUEST_ADDRESS, HOST_ADDRESS, NAMESERVER, NETMASK


def command_line(machine: Machine, board: str) -> str:
    """The machine's command line after `board`, the arguments for its board, and its address if it has a
    network."""
    return " ".join(word for word in (board, _network(machine), machine.cmdline) if word)


def _network(machine: Machine) -> str:
    """Source: OSv's loader.cc; Linux, Documentation/admin-guide/nfs/nfsroot.rst, of `ip=`, which Debian's kernel
    leaves to its initramfs: ours is kernels/linux/init.sh."""
    if not machine.network:
        return ""
    if machine.image.cell.kernel == "linux":
        return f"ip={GUEST_ADDRESS}::{HOST_ADDRESS}:{NETMASK}::eth0:off"
    names = f" --nameserver={NAMESERVER}" if machine.devices.netdev == "nat" else ""
    return f"--ip=eth0,{GUEST_ADDRESS},{NETMASK} --defaultgw={HOST_ADDRESS}{names}"
