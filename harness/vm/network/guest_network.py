"""What joins a guest's network, in a namespace of its own, with this host: forwarded ports, with NAT a way out.

Where the machine wants one, a server is beside it there.
"""

from collections.abc import Mapping
from contextlib import ExitStack, closing

from harness.core.machine import Machine
from harness.host.netns import GUEST_ADDRESS, Wiring, nsenter_command
from harness.vm.base import Endpoint
from harness.vm.network.nfs_server import NfsServer
from harness.vm.network.port_forwarding import Forwards, forward
from harness.vm.network.slirp4netns import Slirp4netns

WIRINGS = {"tap": Wiring.BRIDGE, "nat": Wiring.NAT}


def wiring_of(machine: Machine) -> Wiring | None:
    """How the machine's network is made; None where it has none, or one that is within the hypervisor itself."""
    return WIRINGS.get(machine.devices.netdev) if machine.network else None


class GuestNetwork:
    """The network of a running guest, joined with this host's."""

    def __init__(self, pid: int, machine: Machine) -> None:
        """`pid` is the guest's process. Raises `HostError`."""
        self._pid = pid
        with ExitStack() as made:
            self._forwards: Forwards | None = None
            if machine.forwards:
                self._forwards = made.enter_context(closing(forward(pid, machine.forwards)))
            if wiring_of(machine) is Wiring.NAT:
                made.enter_context(closing(Slirp4netns(pid)))
            if machine.devices.nfs:
                made.enter_context(closing(NfsServer(pid)))
            self._made = made.pop_all()

    @property
    def ports(self) -> Mapping[int, int]:
        """The host port of 127.0.0.1 behind each forwarded guest port."""
        return self._forwards.ports if self._forwards else {}

    def endpoint(self, port: int) -> Endpoint:
        """The guest's port as a process in its network reaches it."""
        return Endpoint(GUEST_ADDRESS, port, tuple(nsenter_command(self._pid)))

    def close(self) -> None:
        """End what joins it."""
        self._made.close()
