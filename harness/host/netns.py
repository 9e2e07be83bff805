"""A guest's network in an unnamed namespace: a tap device with a bridge or NAT, which vanishes with its processes.

The host's network does not change: links, addresses, rules and settings belong to the namespace, which the kernel
removes when the last process in it ends, whoever is killed at whatever moment. So all guests have the same
addresses. Source: network_namespaces(7), ip-link(8), ip-tuntap(8); Linux, Documentation/networking/ip-sysctl.rst.
"""

import os
from collections.abc import Sequence
from enum import StrEnum

from harness.host.process.die_with_parent import die_with_parent

TAP, UPLINK = "tap0", "uplink"
HOST_ADDRESS, GUEST_ADDRESS, NETMASK, PREFIX = "172.16.0.1", "172.16.0.2", "255.255.255.252", 30
"""Those of OSv's own scripts/firecracker.py; no two guests share a network, so all have the same."""

NAMESERVER = "10.0.2.3"
"""slirp4netns's own, at the far end of NAT."""

GUEST_MAC, HOST_MAC = "52:54:00:12:34:56", "52:54:00:12:34:55"
"""The host's address is fixed too: a clone of a snapshot remembers that of the network in which the snapshot was
taken."""

NFS_EXPORT = "/mnt/share"
"""What an NFS server in a guest's network exports, if there is one: empty at first, and writable by anybody."""


class Wiring(StrEnum):
    """What a tap device is connected to: only the namespace's own address, a bridge with that address, or NAT."""

    PLAIN = "plain"
    BRIDGE = "bridge"
    NAT = "nat"


def script(wiring: Wiring, queues: int = 1) -> str:
    """The shell script that creates the network of a namespace; `queues` are the tap device's."""
    several = " multi_queue" if queues > 1 else ""
    lines = ["PATH=$PATH:/usr/sbin:/sbin", "ip link set dev lo up", f"ip tuntap add dev {TAP} mode tap{several}"]
    addressed = TAP
    if wiring is Wiring.BRIDGE:
        addressed = "bridge0"
        lines += [f"ip link add {addressed} type bridge", f"ip link set dev {TAP} master {addressed}"]
        lines += [f"ip link set dev {TAP} up"]
    lines += [
        f"ip link set dev {addressed} address {HOST_MAC}",
        f"ip addr add {HOST_ADDRESS}/{PREFIX} dev {addressed}",
        f"ip link set dev {addressed} up",
    ]
    if wiring is Wiring.NAT:
        lines += [
            "echo 1 > /proc/sys/net/ipv4/ip_forward",
            "nft 'table ip nat { chain out { type nat hook postrouting priority 100; "
            f'oifname "{UPLINK}" masquerade; }}; }}\'',
        ]
    return "".join(f"{line}\n" for line in lines)


def in_new_netns(command: Sequence[str], wiring: Wiring, queues: int = 1) -> list[str]:
    """The command line that runs `command` in a network of its own.

    It sets the parent-death signal again, because the kernel clears it when a user namespace grants new rights.
    """
    words = f'set -e\n{script(wiring, queues)}exec "$@"'
    return ["unshare", *userns_flags(), "--net", "--", "sh", "-c", words, "network", *die_with_parent(command)]


def userns_flags() -> list[str]:
    """Flags of unshare(1) that a user other than root needs."""
    return [] if os.geteuid() == 0 else ["--user", "--map-root-user"]


def nsenter_command(pid: int) -> list[str]:
    """The prefix of a command that runs in the network of the process, and ends with this one."""
    namespaces = ["--net"] if os.geteuid() == 0 else ["--user", "--preserve-credentials", "--net"]
    return ["nsenter", "--target", str(pid), *namespaces, "--", *die_with_parent([])]
