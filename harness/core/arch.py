"""This host's arch, by the name that the matrix has for it."""

import platform

from harness.core.errors import CellError


def host_arch() -> str:
    """This host's arch, as the matrix names it. Raises `CellError` on a host that is neither."""
    arch = platform.machine().lower()
    arch = {"amd64": "x86_64", "arm64": "aarch64"}.get(arch, arch)
    if arch not in ("x86_64", "aarch64"):
        raise CellError(f"This host is {arch}; OSv is for x86_64 and aarch64.", "Name the arch of the cell.")
    return arch
