"""This host's package manager, and its names of packages: the harness knows Debian's names."""

import platform
import shutil
from collections.abc import Iterable

from harness.core import project

FEDORA = "fedora.toml"


def has_dnf() -> bool:
    """Whether packages are installed by dnf here, and not by apt."""
    return shutil.which("dnf") is not None and (shutil.which("apt-get") is None or _is_fedora())


def by_dnf(packages: Iterable[str]) -> tuple[list[str], list[str]]:
    """Fedora's names of Debian's packages, and the packages that Fedora lacks."""
    names = project.read(project.SHIPPED / FEDORA)
    wanted = list(packages)
    found = sorted({name for package in wanted for name in names.get(package, [package])})
    return found, [package for package in wanted if names.get(package) == []]


def command(packages: Iterable[str]) -> str:
    """The command that installs Debian's packages here as root, in words for people."""
    wanted = list(packages)
    if not has_dnf():
        return f"apt-get install {' '.join(wanted)}"
    found, lacking = by_dnf(wanted)
    without = f" (and Fedora has nothing for {', '.join(lacking)})" if lacking else ""
    return (f"dnf install {' '.join(found)}" if found else "nothing") + without


def _is_fedora() -> bool:
    """Fedora has Debian's apt as a package too, which can install nothing there."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return False
    return "fedora" in (release.get("ID", ""), *release.get("ID_LIKE", "").split())
