"""What a root filesystem of the linux kernel is, and which there are."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from harness.core import project
from harness.kernels.rootfs.filesystems import Files


@dataclass(frozen=True, slots=True)
class Root:
    """How the files of a guest become its root.

    `write` makes a disk of them; a root without it is the initramfs itself. `kind` is what Linux calls the
    filesystem (`rootfstype=`), `is_module` whether a module of that name mounts it, `mounts` are further lines of
    `/etc/fstab`, and `writable` says whether init remounts the root so that the guest can write to it.
    """

    write: Callable[[Files, Path], None] | None = None
    kind: str = ""
    is_module: bool = False
    mounts: str = ""
    writable: bool = False

    @property
    def cmdline(self) -> str:
        """The kernel's words about it, but for the disk's name."""
        return f"rootfstype={self.kind}{' rw' if self.writable else ''}"


def root_names() -> list[str]:
    """The filesystems, as the matrix names them."""
    return [name for name, by in project.shipped_values("fs").items() if "linux" in by]


def root_of(fs: str) -> Root:
    """The root filesystem of that name, one of `root_names()`."""
    found: Root = import_module(project.shipped_values("fs")[fs]["linux"]).ROOT
    return found


def root_modules() -> list[str]:
    """The kernel's modules that mount one of them."""
    return [root.kind for root in map(root_of, root_names()) if root.is_module]
