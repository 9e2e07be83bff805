"""This host's arch, by the matrix's name for it."""

import platform

from harness.core.errors import CellError


def host_arch() -> str:
    """This host's arch, by the matrix's name. Raises `CellError` on a host with another one."""
    arch = platform.machine().lower()
    arch = {"amd64": "x86_64", "arm64": "aarch64"}.get(arch, arch)
    if arch not in ("x86_64", "aarch64"):
        raise CellError(f"This host is {arch}; OSv is for x86_64 and aarch64.", "Name the arch of the cell.")
    return arch
