"""A guest's network in a namespace without a name: a tap device with a bridge or NAT, gone with its processes.

Nothing of it is the host's: links, addresses, rules and settings are the namespace's, which the kernel takes down
when the last process in it ends, whoever is killed at whatever moment. So all guests have the same addresses.
Source: network_namespaces(7), ip-link(8), ip-tuntap(8); Linux, Documentation/networking/ip-sysctl.rst.
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
"""The host's is said too, for a fork remembers that of the network in which its template ran."""

NFS_EXPORT = "/mnt/share"
"""What a server of NFS in a guest's network exports, if there is one: empty at first, and anybody may write."""


class Wiring(StrEnum):
    """What a tap device is joined to: nothing more than the namespace's own address, a bridge that has it, or,
    by NAT, a way out."""

    PLAIN = "plain"
    BRIDGE = "bridge"
    NAT = "nat"


def script(wiring: Wiring, queues: int = 1) -> str:
    """The shell's words that make the network of a namespace; `queues` are the tap device's."""
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

    It is tied to this process once more, for the kernel forgets that where a user namespace gives new rights.
    """
    words = f'set -e\n{script(wiring, queues)}exec "$@"'
    return ["unshare", *userns_flags(), "--net", "--", "sh", "-c", words, "network", *die_with_parent(command)]


def userns_flags() -> list[str]:
    """What a user other than root says to unshare(1) besides, to be allowed the rest."""
    return [] if os.geteuid() == 0 else ["--user", "--map-root-user"]


def nsenter_command(pid: int) -> list[str]:
    """What a command begins with that is to run in the network of the process, and to end with this one."""
    namespaces = ["--net"] if os.geteuid() == 0 else ["--user", "--preserve-credentials", "--net"]
    return ["nsenter", "--target", str(pid), *namespaces, "--", *die_with_parent([])]
