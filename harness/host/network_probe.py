"""Checks whether this host can create guest networks, by creating one of each kind."""

import fcntl
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

from harness.core.text import printable
from harness.host.netns import Wiring, in_new_netns
from harness.host.requirements import NO_ONE, SBIN_PATHS, Capability

VHOST = Path("/dev/vhost-net")
VHOST_SET_OWNER = 0xAF01  # Source: Linux, include/uapi/linux/vhost.h
CURE = "Run as root, or allow users their own namespaces; the host's kernel needs tun, bridge and nf_tables."

NETWORKS = {
    "tap": Capability(
        "tap", "a tap device and a bridge", "the variants tap, tap-multiqueue and vhost", required_for=NO_ONE,
        packages=("iproute2", "util-linux"),
    ),
    "tap-nat": Capability(
        "tap-nat", "a tap device, NAT and slirp4netns", "the variant tap-nat", required_for=NO_ONE,
        packages=("iproute2", "nftables", "slirp4netns", "util-linux"),
    ),
    "vhost-net": Capability(
        "vhost-net", str(VHOST), "the variant vhost", required_for=NO_ONE,
        cure="Load the module vhost_net, where the host's kernel has it, and let this user write /dev/vhost-net.",
    ),
}  # fmt: skip


def check_network(name: str) -> Capability:
    """What was found of one of `NETWORKS`; nothing of it remains."""
    obstacle = {"tap": _tap, "tap-nat": _nat, "vhost-net": _vhost}[name]()
    row = NETWORKS[name]
    if not obstacle:
        return replace(row, found="made one, and took it down", present=True)
    missing = obstacle.endswith(" is missing")
    return replace(row, found=obstacle, cure=row.cure or ("" if missing else CURE))


def _tap() -> str:
    return _missing("unshare", "nsenter", "ip") or _made(Wiring.BRIDGE)


def _nat() -> str:
    return _missing("unshare", "nsenter", "ip", "nft", "slirp4netns") or _made(Wiring.NAT)


def _vhost() -> str:
    """Why a process can't become the owner of a vhost device, as QEMU does; empty if it can."""
    if not VHOST.exists():
        return f"there is no {VHOST}"
    try:
        device = os.open(VHOST, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return f"{VHOST} can't be opened: {error.strerror}"
    try:
        fcntl.ioctl(device, VHOST_SET_OWNER)
    except OSError as error:
        return f"{VHOST} opens, and takes no owner: {error.strerror}"
    finally:
        os.close(device)
    return ""


def _missing(*programs: str) -> str:
    there = os.pathsep.join((os.environ.get("PATH", os.defpath), *SBIN_PATHS))
    return next((f"{program} is missing" for program in programs if shutil.which(program, path=there) is None), "")


def _made(wiring: Wiring) -> str:
    """Why a network can't be created: the message of what failed."""
    try:
        done = subprocess.run(in_new_netns(["true"], wiring), capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    if done.returncode == 0:
        return ""
    return printable(done.stderr.strip().partition("\n")[0]) or f"exited with {done.returncode}"
