"""A process in namespaces of its own: a folder that nobody else sees, and a network that holds only its guest.

The folder is a tmpfs whose name is taken away before the process begins: it is the process's working folder, is
reached from outside through /proc, and goes with the process, whoever is killed at whatever moment. So does the
network: its tap device and its addresses are the namespace's. The files that a hypervisor is given are symbolic
links in that folder, for some insist on names that are the same each time.

Source: namespaces(7), mount(2) on MNT_DETACH, proc(5) on /proc/PID/cwd.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.errors import HostError
from harness.tied import tied

TAP = "tap0"
HOST_ADDRESS, GUEST_ADDRESS, NETMASK, PREFIX = "172.16.0.1", "172.16.0.2", "255.255.255.252", 30
"""Those of OSv's own scripts/firecracker.py; no two guests share a network, so all have the same."""

GUEST_MAC = "52:54:00:12:34:56"
MOUNT_POINT = "/mnt"  # of any kind: nothing stays mounted on it
FORWARDER = Path(__file__).with_name("_forwarder.py")

ENTER = f"""set -e
PATH=$PATH:/usr/sbin:/sbin
mount -t tmpfs -o size=256k,mode=700 none {MOUNT_POINT}
cd {MOUNT_POINT}
umount -l {MOUNT_POINT}
while [ "$1" != -- ]; do ln -s "$2" "$1"; shift 2; done
shift
"""
NETWORK = f"""ip tuntap add dev {TAP} mode tap
ip addr add {HOST_ADDRESS}/{PREFIX} dev {TAP}
ip link set dev lo up
ip link set dev {TAP} up
"""
LEAVE = 'PWD=/proc/self/cwd exec "$@"'  # for shells that look for the name of the folder, which has none


def enclosed(command: Sequence[str], files: Mapping[str, str], network: bool) -> list[str]:
    """The command line that runs `command` in an enclosure in which `files` are links, from name to target.

    It is tied to this process once more, for the kernel forgets that where a user namespace gives new rights.
    """
    users = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    script = ENTER + (NETWORK if network else "") + LEAVE
    links = [word for pair in files.items() for word in pair]
    return [
        "unshare", *users, "--mount", "--net", "--propagation", "private", "--",
        "sh", "-c", script, "enclosure", *links, "--", *tied(command),
    ]  # fmt: skip


def inside(pid: int, name: str) -> Path:
    """A file of the enclosure's folder, seen from outside."""
    return Path(f"/proc/{pid}/cwd/{name}")


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
    """Forward free ports of 127.0.0.1 to those of the guest in the enclosure of the process.

    They listen out here; a process in the enclosure's network accepts and connects on. Raises `HostError`.
    """
    listening = {port: socket.create_server(("127.0.0.1", 0)) for port in ports}
    namespaces = ["--net"] if os.geteuid() == 0 else ["--user", "--preserve-credentials", "--net"]
    pairs = [f"{server.fileno()}:{port}" for port, server in listening.items()]
    program = tied([sys.executable, "-I", str(FORWARDER), GUEST_ADDRESS, *pairs])
    command = tied(["nsenter", "--target", str(pid), *namespaces, "--", *program])
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
