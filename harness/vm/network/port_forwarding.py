"""Forwards ports of 127.0.0.1 into a guest's network, which is in a namespace of its own."""

import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from harness.host.netns import GUEST_ADDRESS, nsenter_command
from harness.host.process.supervised import SupervisedProcess

FORWARDER = Path(__file__).with_name("tcp_proxy.py")


@dataclass(frozen=True, slots=True)
class Forwards:
    """Ports of 127.0.0.1 that are forwarded to ports of the guest, and the process that copies their bytes."""

    ports: Mapping[int, int]
    process: SupervisedProcess

    def close(self) -> None:
        """Close the ports and every connection through them."""
        self.process.close()


def forward(pid: int, ports: Sequence[int]) -> Forwards:
    """Forward free ports of 127.0.0.1 to those of the guest in the network of the process. Raises `HostError`.

    They listen in the host's network; a process in the guest's network accepts the connections and connects to the
    guest.
    """
    with ExitStack() as stack:
        listening = {port: stack.enter_context(socket.create_server(("127.0.0.1", 0))) for port in ports}
        pairs = [f"{server.fileno()}:{port}" for port, server in listening.items()]
        command = [*nsenter_command(pid), sys.executable, "-I", str(FORWARDER), GUEST_ADDRESS, *pairs]
        fds = [server.fileno() for server in listening.values()]
        process = SupervisedProcess("The port forwarder", command, stdout=subprocess.DEVNULL, fds=fds)
        return Forwards({port: server.getsockname()[1] for port, server in listening.items()}, process)
