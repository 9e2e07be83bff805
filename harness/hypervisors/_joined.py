"""What joins a guest's network, in a namespace of its own, with this host: forwarded ports, with NAT a way out."""

from collections.abc import Mapping

from harness.hypervisors import Place
from harness.hypervisors._forwards import forward
from harness.hypervisors._uplink import Uplink
from harness.machine import Machine
from harness.networks import GUEST_ADDRESS, Wiring, entering

WIRINGS = {"tap": Wiring.BRIDGE, "nat": Wiring.NAT}


def wiring_of(machine: Machine) -> Wiring | None:
    """How the machine's network is made; None where it has none, or one that is within the hypervisor itself."""
    return WIRINGS.get(machine.devices.netdev) if machine.network else None


class Joined:
    """The network of a running guest, joined with this host's."""

    def __init__(self, pid: int, machine: Machine) -> None:
        """`pid` is the guest's process. Raises `HostError`."""
        self._pid = pid
        self._forwards = forward(pid, machine.forwards) if machine.forwards else None
        self._uplink: Uplink | None = None
        if wiring_of(machine) is Wiring.NAT:
            try:
                self._uplink = Uplink(pid)
            except BaseException:
                self.close()
                raise

    @property
    def ports(self) -> Mapping[int, int]:
        """The host port of 127.0.0.1 behind each forwarded guest port."""
        return self._forwards.ports if self._forwards else {}

    def place(self, port: int) -> Place:
        """The guest's port as a process in its network reaches it."""
        return Place(GUEST_ADDRESS, port, tuple(entering(self._pid)))

    def close(self) -> None:
        """End what joins it."""
        for part in (self._forwards, self._uplink):
            if part:
                part.close()
