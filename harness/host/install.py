"""Installing what a host lacks, through apt, where that is allowed."""

import os
import shutil
import subprocess
from collections.abc import Iterable

from harness.errors import HostError
from harness.events import publish
from harness.host.needs import Capability


def missing_packages(capabilities: Iterable[Capability], optional: bool = False) -> list[str]:
    """The Debian packages that would bring what is absent: what is required, and with `optional` the rest too."""
    rows = (row for row in capabilities if not row.present and (row.required or optional))
    return sorted({package for row in rows for package in row.packages})


def install(packages: Iterable[str]) -> None:
    """Install Debian packages. Raises `HostError` with the one command to run where this user may not."""
    wanted = list(packages)
    command = ["apt-get", "install", "-y", "--no-install-recommends", *wanted]
    if shutil.which("apt-get") is None:
        raise HostError("There is no apt on this host.", f"Install what gives: {' '.join(wanted)}.")
    become = _become_root()
    if become is None:
        sudo = "sudo asks for a password" if shutil.which("sudo") else "there is no sudo"
        happened = f"This user is not root, and {sudo}: nothing was installed."
        raise HostError(happened, f"{'Run' if shutil.which('sudo') else 'As root, run'}: {_pasted(command)}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for step in (["apt-get", "update", "-q"], command):
        publish("host.installing", " ".join(step))
        if subprocess.run([*become, *step], env=environment, stdin=subprocess.DEVNULL).returncode:
            raise HostError(f"`{' '.join(step)}` failed; its own words are above.", f"Run: {_pasted(command)}")


def _become_root() -> list[str] | None:
    """What to put before a command that needs root, or None where nothing helps."""
    if os.geteuid() == 0:
        return []
    asked = shutil.which("sudo") and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode == 0
    return ["sudo", "-n", "DEBIAN_FRONTEND=noninteractive"] if asked else None


def _pasted(command: list[str]) -> str:
    prefix = "sudo " if os.geteuid() and shutil.which("sudo") else ""
    return f"{prefix}apt-get update && {prefix}{' '.join(command)}"
