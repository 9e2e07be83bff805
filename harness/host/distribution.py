"""What this host installs packages by, and what it names them: the harness knows Debian's names."""

import platform
import shutil
from collections.abc import Iterable

from harness.core import project

FEDORA = "fedora.toml"


def has_dnf() -> bool:
    """Whether packages come by dnf here, and not by apt."""
    return shutil.which("dnf") is not None and (shutil.which("apt-get") is None or _is_fedora())


def by_dnf(packages: Iterable[str]) -> tuple[list[str], list[str]]:
    """What Fedora names Debian's packages, and those of them that it has not."""
    names = project.read(project.SHIPPED / FEDORA)
    wanted = list(packages)
    found = sorted({name for package in wanted for name in names.get(package, [package])})
    return found, [package for package in wanted if names.get(package) == []]


def command(packages: Iterable[str]) -> str:
    """The command of root's that installs Debian's packages here, in words for a person."""
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
