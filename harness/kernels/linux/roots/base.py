"""Describes a root filesystem of the Linux kernel, and finds those that exist."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from harness.core import project
from harness.kernels.rootfs.filesystems import Files


@dataclass(frozen=True, slots=True)
class Root:
    """How the files of a guest become its root.

    `write` makes a disk of them; a root without it is the initramfs itself. `kind` is Linux's name for the
    filesystem (`rootfstype=`), `is_module` whether a module of that name mounts it, `mounts` are further lines of
    `/etc/fstab`, and `writable` is whether init remounts the root so that the guest can write to it.
    """

    write: Callable[[Files, Path], None] | None = None
    kind: str = ""
    is_module: bool = False
    mounts: str = ""
    writable: bool = False

    @property
    def cmdline(self) -> str:
        """The kernel arguments about it, except the disk's name."""
        return f"rootfstype={self.kind}{' rw' if self.writable else ''}"


def root_names() -> list[str]:
    """The filesystems, by the matrix's names."""
    return [name for name, by in project.shipped_values("fs").items() if "linux" in by]


def root_of(fs: str) -> Root:
    """The root filesystem with that name, one of `root_names()`."""
    found: Root = import_module(project.shipped_values("fs")[fs]["linux"]).ROOT
    return found


def root_modules() -> list[str]:
    """The kernel modules that mount any of them."""
    return [root.kind for root in map(root_of, root_names()) if root.is_module]
