"""The kernels that can be tested: a row for each, with the function that makes it from the user's arguments."""

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
"""Makes each kernel from an OSv checkout and build options, by the matrix's name for it."""


def kernel(name: str, checkout: Path | None, options: BuildOptions, files: Files | None) -> Kernel:
    """The kernel with that name, or the files of an already built one instead. Raises `CheckoutError` if it is
    built from a checkout and none is named, `CellError` for an unknown name."""
    if files:
        return Prebuilt(name, files)
    if name not in KERNELS:
        raise CellError(f"The kernel {name} is not built here.", f"Kernels: {', '.join(KERNELS)}.")
    return KERNELS[name](checkout, options)
