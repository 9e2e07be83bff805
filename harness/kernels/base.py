"""Where bootable kernels come from: one module for each kernel, with a class that fulfils `Kernel`."""

from dataclasses import dataclass
from typing import Protocol

from harness.core.cell import Cell
from harness.core.machine import Image
from harness.host.cache import Cache
from harness.kernels.rootfs.contents import Contents


@dataclass(frozen=True, slots=True)
class Origin:
    """What a kernel was built from: a commit, or a package's version.

    `described` is for people; `committed` is in seconds since 1970, or 0 if unknown. `builder` is what built the
    kernel, as `harness.core.facts` writes it. `lineage` holds the newest commits up to it, each with its parents,
    separated by blanks.
    """

    commit: str
    described: str
    committed: float = 0.0
    builder: str = ""
    lineage: tuple[tuple[str, str], ...] = ()


class Kernel(Protocol):
    """Builds images; knows nothing of how they are booted."""

    name: str

    def build(self, cell: Cell, cache: Cache) -> Image:
        """Build the image of the cell, or take it from the cache if nothing that it is made from has changed.
        Raises `BuildError`, `CheckoutError` or `HostError`."""
        ...

    def build_with(self, cell: Cell, cache: Cache, contents: Contents) -> Image:
        """Build the image of the cell with other programs than the tests. Raises what `build` raises."""
        ...

    def prepare(self, cell: Cell, cache: Cache) -> None:
        """Make what all images of the cell share. Raises what `build` raises."""
        ...

    def origin(self, image: Image) -> Origin:
        """What the image's kernel was built from."""
        ...

    def describe(self) -> str:
        """One line that says which kernel this is and where it comes from."""
        ...
