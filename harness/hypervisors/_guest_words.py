"""What a kernel is told on its command line of a machine whose network has no DHCP."""

from harness.errors import HypervisorError
from harness.hypervisors._enclosure import GUEST_ADDRESS, HOST_ADDRESS, NETMASK
from harness.machine import Machine


def command_line(machine: Machine, board: str) -> str:
    """The machine's command line after `board`, the words for its board, and its address if it has a network.

    Raises `HypervisorError` for a kernel that can't be told an address.
    """
    return " ".join(word for word in (board, _network(machine), machine.cmdline) if word)


def _network(machine: Machine) -> str:
    """Source: OSv's loader.cc, --ip and --defaultgw."""
    if not machine.network:
        return ""
    if machine.image.cell.kernel != "osv":
        raise HypervisorError(
            "Linux guests ask for their address by DHCP, and nothing answers that on this hypervisor's network.",
            "Boot the machine without a network, or on qemu.",
        )
    return f"--ip=eth0,{GUEST_ADDRESS},{NETMASK} --defaultgw={HOST_ADDRESS}"
