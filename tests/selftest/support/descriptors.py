"""What this process has open."""

from contextlib import suppress
from pathlib import Path


def descriptors() -> dict[str, str]:
    """This process's descriptors, and what each is of; the listing itself excepted."""
    folder = Path("/proc/self/fd")
    found = {}
    for path in folder.iterdir():
        with suppress(OSError):
            found[path.name] = str(path.readlink())
    listing = str(folder.resolve())
    return {name: target for name, target in found.items() if target != listing}
