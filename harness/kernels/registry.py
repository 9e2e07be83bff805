"""The kernels that can be under test: a row for each, and what makes it of what a user names."""

from collections.abc import Callable, Mapping
from pathlib import Path

from harness.core.errors import CellError, CheckoutError
from harness.kernels.base import Kernel
from harness.kernels.linux.kernel import Linux
from harness.kernels.osv.build_config import BuildOptions
from harness.kernels.osv.kernel import Osv
from harness.kernels.prebuilt.kernel import Files, Prebuilt


def _osv(checkout: Path | None, options: BuildOptions) -> Osv:
    if checkout is None:
        raise CheckoutError("No OSv checkout is named.", "Give --osv-root DIR or set OSV_ROOT.")
    return Osv(checkout, options)


KERNELS: Mapping[str, Callable[[Path | None, BuildOptions], Kernel]] = {
    "linux": lambda checkout, options: Linux(),
    "osv": _osv,
}
"""What makes each kernel of an OSv checkout and how else than usual that is built, by the matrix's name for it."""


def kernel(name: str, checkout: Path | None, options: BuildOptions, files: Files | None) -> Kernel:
    """The kernel of that name, or the files of one that is already built in its place.

    Raises `CheckoutError` where it is built from a checkout and none is named, `CellError` for an unknown name.
    """
    if files:
        return Prebuilt(name, files)
    if name not in KERNELS:
        raise CellError(f"The kernel {name} is not built here.", f"Kernels: {', '.join(KERNELS)}.")
    return KERNELS[name](checkout, options)
