"""A cell: one point of the test matrix."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """Kernel, arch, hypervisor, filesystem, driver profile and build options of one kernel under test, and the
    variant of its machine; without a variant it has the devices that its profile drives.

    A cell is only a name: `matrix` says whether it is valid, `host` whether it runs here. `options` is sorted and
    without duplicates, so that equal cells are equal values.
    """

    kernel: str
    arch: str
    hypervisor: str
    fs: str
    profile: str
    options: tuple[str, ...] = ()
    variant: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", tuple(sorted(set(self.options))))

    def __str__(self) -> str:
        """The full name, `osv:x86_64-qemu-rofs-all+hide_symbols/nvme`; `Matrix.parse` reads it."""
        axes = "-".join((self.arch, self.hypervisor, self.fs, self.profile))
        variant = f"/{self.variant}" if self.variant else ""
        return f"{self.kernel}:{axes}" + "".join(f"+{option}" for option in self.options) + variant

    @property
    def slug(self) -> str:
        """The name as one safe path component."""
        return slug_of(str(self))


def slug_of(name: str) -> str:
    """The name of a cell as one safe path component."""
    return name.replace(":", "-").replace("/", "-on-")
