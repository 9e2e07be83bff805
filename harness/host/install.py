"""Installing what a host lacks, through apt, where that is allowed."""

import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence

from harness.core.errors import HostError
from harness.core.events import publish
from harness.host import distribution
from harness.host.requirements import Capability

SERVERS = frozenset({"postgresql", "redis-server", "nginx-light", "nfs-ganesha-vfs", "rpcbind"})
"""Packages that start a server when they are installed, and at each boot from then on."""

BY_NAME_ONLY = frozenset({"xen"})
"""Capabilities that change how this host boots: they are installed for their name, and never for `all`."""

INSTALL = ("apt-get", "install", "-y", "--no-install-recommends")


def missing_packages(capabilities: Iterable[Capability], optional: bool = False) -> list[str]:
    """The Debian packages that would bring what is absent: what is required, and with `optional` the rest too."""
    rows = (row for row in capabilities if not row.present and (row.required or optional))
    return _packages(rows)


def install(packages: Iterable[str]) -> None:
    """Install Debian packages. Raises `HostError` with the one command to run where this user may not."""
    wanted = list(packages)
    become = _root_for(wanted)
    _update(become)
    _apt([*INSTALL, *wanted], become)


def install_what_can_be(rows: Sequence[Capability]) -> dict[str, str]:
    """Install the packages of those capabilities of which all can be had; why not of each other, by its name.

    Raises `HostError` as `install` does, and where apt fails all the same.
    """
    try:
        become = _root_for([])
    except HostError:
        obtainable, _ = _sorted_out(rows)  # by the lists of packages that are there
        _root_for(_packages(obtainable))
        raise
    _update(become)
    obtainable, left_out = _sorted_out(rows)
    if packages := _packages(obtainable):
        if servers := sorted(SERVERS & {*packages}):
            publish("host.servers", ", ".join(servers), "these start servers on this host, now and at each boot")
        _apt([*INSTALL, *packages], become)
    return left_out


def _packages(rows: Iterable[Capability]) -> list[str]:
    return sorted({package for row in rows for package in row.packages})


def _sorted_out(rows: Sequence[Capability]) -> tuple[list[Capability], dict[str, str]]:
    """The capabilities that apt says it can install, and what it says of the others."""
    obtainable, left_out = [], {}
    for row in rows:
        if not row.packages:
            left_out[row.name] = row.cure or "no package brings it"
        elif reason := _refusal(row.packages):
            left_out[row.name] = reason
        else:
            obtainable.append(row)
    return obtainable, left_out


def _refusal(packages: Sequence[str]) -> str:
    """Why apt could not install the packages, in its words; nothing if it could."""
    environment = os.environ | {"LC_ALL": "C"}
    done = subprocess.run([*INSTALL, "--simulate", *packages], env=environment, capture_output=True, text=True)
    if not done.returncode:
        return ""
    words = [line.removeprefix("E: ") for line in done.stderr.splitlines() if line.startswith("E: ")]
    return "; ".join(words) or f"`apt-get install {' '.join(packages)}` fails"


def _root_for(packages: Sequence[str]) -> list[str]:
    """What to put before a command of root's. Raises `HostError` with the command to run where nothing helps."""
    if distribution.has_dnf():
        cure = f"As root, run: {distribution.command(packages)}"
        raise HostError("Packages come by dnf on this host: nothing was installed.", cure)
    if shutil.which("apt-get") is None:
        raise HostError("There is no apt on this host.", f"Install what gives: {' '.join(packages)}.")
    become = _become_root()
    if become is None:
        sudo = "sudo asks for a password" if shutil.which("sudo") else "there is no sudo"
        happened = f"This user is not root, and {sudo}: nothing was installed."
        command = _pasted([*INSTALL, *packages])
        raise HostError(happened, f"{'Run' if shutil.which('sudo') else 'As root, run'}: {command}")
    return become


def _update(become: Sequence[str]) -> None:
    _apt(["apt-get", "update", "-q"], become)


def _apt(step: list[str], become: Sequence[str]) -> None:
    publish("host.installing", " ".join(step))
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if subprocess.run([*become, *step], env=environment, stdin=subprocess.DEVNULL).returncode:
        cure = "See its words: it may lack a network, room on the disk, or a package in its sources."
        raise HostError(f"`{' '.join(step)}` failed; its own words are above.", cure)


def _become_root() -> list[str] | None:
    """What to put before a command that needs root, or None where nothing helps."""
    if os.geteuid() == 0:
        return []
    asked = shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0
    return ["sudo", "-n", "DEBIAN_FRONTEND=noninteractive"] if asked else None


def _pasted(command: list[str]) -> str:
    prefix = "sudo " if os.geteuid() and shutil.which("sudo") else ""
    return f"{prefix}apt-get update && {prefix}{' '.join(command)}"
