"""This host's networks: what no guest may change of them, and which processes are in which."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

MARK = "OSV_HARNESS_NETWORKS_MARK"
IP, NFT = (shutil.which(name) or shutil.which(name, path="/usr/sbin") for name in ("ip", "nft"))


def network_state() -> dict[str, object]:
    """What no guest's network may change: this host's links, addresses, routes, rules, settings and mounts."""

    def said(*command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True)
        return re.sub(r"\b(valid|preferred)_lft \S+", "", done.stdout)

    settings = {}
    for path in Path("/proc/sys/net").rglob("*"):
        with suppress(OSError):
            settings[str(path)] = path.read_text() if path.is_file() else ""
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if "nsfs" in line]
    return {
        "links": sorted(path.name for path in Path("/sys/class/net").iterdir()),
        "addresses": said(IP, "addr") if IP else "",
        "routes": Path("/proc/net/route").read_text(),
        "rules": said(NFT, "list", "ruleset") if NFT else "",
        "settings": {name: value for name, value in settings.items() if "/nf_conntrack_count" not in name},
        "mounts": mounts,
    }


def marked(mark: str) -> set[int]:
    """This test's processes, this one and zombies excepted."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if f"{MARK}={mark}".encode() in path.read_bytes().split(b"\0"):
                found.add(int(path.parent.name))
    return found - {os.getpid()}


def network_of(pid: str) -> str:
    """The network namespace that a process is in, or `self`."""
    return str(Path(f"/proc/{pid}/ns/net").readlink())


def networks(mark: str) -> set[str]:
    """The network namespaces that this test's processes are in.

    One of another process may have the same name: the kernel gives the number of one that is gone to the next.
    """
    found = set()
    for pid in marked(mark):
        with suppress(OSError):
            found.add(network_of(str(pid)))
    return found


def soon(true: Callable[[], bool]) -> bool:
    """Whether it is so within some seconds: what was killed takes a moment to go."""
    for _ in range(50):
        if true():
            return True
        time.sleep(0.1)
    return true()
