"""Connects a guest's network, in a namespace of its own, with this host: forwarded ports and, with NAT,
slirp4netns.

If the machine has an NFS server, that runs in the same namespace.
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
    """The wiring of the machine's network; None if it has none, or one inside the hypervisor."""
    return WIRINGS.get(machine.devices.netdev) if machine.network else None


class GuestNetwork:
    """The network of a running guest, connected with this host's."""

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
        """The host port on 127.0.0.1 behind each forwarded guest port."""
        return self._forwards.ports if self._forwards else {}

    def endpoint(self, port: int) -> Endpoint:
        """The guest's port, as reached by a process in its network."""
        return Endpoint(GUEST_ADDRESS, port, tuple(nsenter_command(self._pid)))

    def close(self) -> None:
        """Disconnect it."""
        self._made.close()
