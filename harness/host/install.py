"""Installs what a host lacks by apt, if that is allowed."""

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
"""Capabilities that change how this host boots: installed only by name, never by `all`."""

INSTALL = ("apt-get", "install", "-y", "--no-install-recommends")


def missing_packages(capabilities: Iterable[Capability], optional: bool = False) -> list[str]:
    """The Debian packages of missing capabilities: the required ones, and with `optional` the others too."""
    rows = (row for row in capabilities if not row.present and (row.required or optional))
    return _packages(rows)


def install(packages: Iterable[str]) -> None:
    """Install Debian packages. Raises `HostError` with the command to run if this user may not."""
    wanted = list(packages)
    prefix = _root_prefix(wanted)
    _update(prefix)
    _apt([*INSTALL, *wanted], prefix)


def install_what_can_be(rows: Sequence[Capability]) -> dict[str, str]:
    """Install the packages of those capabilities whose packages are all available. Returns why the others are not
    installed, by name.

    Raises `HostError` as `install` does, and if apt fails nevertheless.
    """
    try:
        prefix = _root_prefix([])
    except HostError:
        obtainable, _ = _partition(rows)  # by the present package lists
        _root_prefix(_packages(obtainable))
        raise
    _update(prefix)
    obtainable, left_out = _partition(rows)
    if packages := _packages(obtainable):
        if servers := sorted(SERVERS & {*packages}):
            publish("host.servers", ", ".join(servers), "these start servers on this host, now and at each boot")
        _apt([*INSTALL, *packages], prefix)
    return left_out


def _packages(rows: Iterable[Capability]) -> list[str]:
    return sorted({package for row in rows for package in row.packages})


def _partition(rows: Sequence[Capability]) -> tuple[list[Capability], dict[str, str]]:
    """The capabilities that apt can install, and its reasons for the others."""
    obtainable, left_out = [], {}
    for row in rows:
        if not row.packages:
            left_out[row.name] = row.cure or "no package brings it"
        elif reason := _apt_refusal(row.packages):
            left_out[row.name] = reason
        else:
            obtainable.append(row)
    return obtainable, left_out


def _apt_refusal(packages: Sequence[str]) -> str:
    """Why apt can't install the packages, in its words; empty if it can."""
    environment = os.environ | {"LC_ALL": "C"}
    done = subprocess.run([*INSTALL, "--simulate", *packages], env=environment, capture_output=True, text=True)
    if not done.returncode:
        return ""
    words = [line.removeprefix("E: ") for line in done.stderr.splitlines() if line.startswith("E: ")]
    return "; ".join(words) or f"`apt-get install {' '.join(packages)}` fails"


def _root_prefix(packages: Sequence[str]) -> list[str]:
    """The prefix of a command that needs root. Raises `HostError` with the command to run if there is none."""
    if distribution.has_dnf():
        cure = f"As root, run: {distribution.command(packages)}"
        raise HostError("Packages come by dnf on this host: nothing was installed.", cure)
    if shutil.which("apt-get") is None:
        raise HostError("There is no apt on this host.", f"Install what gives: {' '.join(packages)}.")
    prefix = _sudo_prefix()
    if prefix is None:
        sudo = "sudo asks for a password" if shutil.which("sudo") else "there is no sudo"
        happened = f"This user is not root, and {sudo}: nothing was installed."
        command = _shell_command([*INSTALL, *packages])
        raise HostError(happened, f"{'Run' if shutil.which('sudo') else 'As root, run'}: {command}")
    return prefix


def _update(prefix: Sequence[str]) -> None:
    _apt(["apt-get", "update", "-q"], prefix)


def _apt(step: list[str], prefix: Sequence[str]) -> None:
    publish("host.installing", " ".join(step))
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    if subprocess.run([*prefix, *step], env=environment, stdin=subprocess.DEVNULL).returncode:
        cure = "See its words: it may lack a network, room on the disk, or a package in its sources."
        raise HostError(f"`{' '.join(step)}` failed; its own words are above.", cure)


def _sudo_prefix() -> list[str] | None:
    """The prefix of a command that needs root, or None if there is none."""
    if os.geteuid() == 0:
        return []
    asked = shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0
    return ["sudo", "-n", "DEBIAN_FRONTEND=noninteractive"] if asked else None


def _shell_command(command: list[str]) -> str:
    prefix = "sudo " if os.geteuid() and shutil.which("sudo") else ""
    return f"{prefix}apt-get update && {prefix}{' '.join(command)}"
