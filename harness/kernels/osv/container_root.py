"""Takes a root out of a container: an image with packages installed, exported as a folder.

The engine (podman or docker) is used only to make it. A build enters the folder as it enters any other root, so it
ends with the harness, which a container of a daemon does not.
"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from harness.core.errors import HostError
from harness.core.events import publish
from harness.host.process.die_with_parent import run_with_parent
from harness.host.temp_dir import temporary_dir

ENGINES = ("podman", "docker")
INSTALLED = "var/lib/osv-harness-packages"
"""In the root: the list of its packages with their versions."""

# dnf and apt name what they lack; both end with a status then.
_INSTALL = f"""set -e
if command -v dnf >/dev/null; then
  dnf -y --setopt=install_weak_deps=False install "$@"
  rpm -qa | sort >/{INSTALLED}
else
  apt-get update
  apt-get install -y --no-install-recommends "$@"
  dpkg-query -W | sort >/{INSTALLED}
fi
"""


def export(image: str, packages: Sequence[str], root: Path) -> None:
    """Install the packages into a container of the image, and write its root to the folder. Raises `HostError`."""
    engine = next((name for name in ENGINES if shutil.which(name)), None)
    if engine is None:
        raise HostError(f"{' and '.join(ENGINES)} are missing, which run containers.", "Install podman.")
    with temporary_dir("osv-harness-container-") as scratch:
        name, tar = scratch.name, scratch / "root.tar"
        try:
            publish("packages.fetching", " ".join(packages), f"{image} by {engine}")
            _call([engine, "run", "--name", name, image, "sh", "-c", _INSTALL, "sh", *packages])
            _call([engine, "export", "--output", str(tar), name])
        finally:
            run_with_parent([engine, "rm", "--force", name])
        root.mkdir()
        _call(["tar", "--extract", "--no-same-owner", "--file", str(tar), "--directory", str(root)])


def versions(root: Path) -> list[str]:
    """The packages of a root that `export` wrote."""
    return (root / INSTALLED).read_text().splitlines()


def _call(command: Sequence[str]) -> None:
    done = run_with_parent(command)
    if done.returncode:
        words = "\n".join((done.stdout + done.stderr).strip().splitlines()[-6:])
        raise HostError(
            f"{' '.join(command[:2])} failed:\n{words}",
            f"See to {command[0]} (`{command[0]} info`), to the network and to the room on the disk.",
        )
