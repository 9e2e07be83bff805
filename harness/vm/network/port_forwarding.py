"""Ports of 127.0.0.1 that lead into a guest's network, which is in a namespace of its own."""

import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.core.errors import HostError
from harness.host.netns import GUEST_ADDRESS, nsenter_command
from harness.host.process.die_with_parent import die_with_parent

FORWARDER = Path(__file__).with_name("tcp_proxy.py")


@dataclass(frozen=True, slots=True)
class Forwards:
    """Ports of 127.0.0.1 that lead to ports of the guest, and the process that passes their bytes on."""

    ports: Mapping[int, int]
    process: subprocess.Popen[bytes]

    def close(self) -> None:
        """Close the ports and every connection through them."""
        self.process.kill()
        self.process.wait()


def forward(pid: int, ports: Sequence[int]) -> Forwards:
    """Forward free ports of 127.0.0.1 to those of the guest in the network of the process.

    They listen out here; a process in that network accepts and connects on. Raises `HostError`.
    """
    listening = {port: socket.create_server(("127.0.0.1", 0)) for port in ports}
    pairs = [f"{server.fileno()}:{port}" for port, server in listening.items()]
    command = die_with_parent([*nsenter_command(pid), sys.executable, "-I", str(FORWARDER), GUEST_ADDRESS, *pairs])
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[server.fileno() for server in listening.values()],
            start_new_session=True,
        )
    except OSError as error:
        raise HostError(f"Ports can't be forwarded: {error}.", "Install the package util-linux.") from error
    finally:
        found = {port: server.getsockname()[1] for port, server in listening.items()}
        for server in listening.values():
            server.close()
    return Forwards(found, process)
