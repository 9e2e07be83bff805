"""The hypervisors that have a driver: one row each."""

from collections.abc import Mapping
from importlib import import_module
from typing import cast

from harness.core.errors import CellError
from harness.vm.base import Hypervisor

DRIVERS: Mapping[str, str] = {
    "aws": "harness.vm.aws.driver",
    "cloud_hypervisor": "harness.vm.cloud_hypervisor.driver",
    "firecracker": "harness.vm.firecracker.driver",
    "gce": "harness.vm.gce.driver",
    "hyperkit": "harness.vm.hyperkit.driver",
    "hyperv": "harness.vm.hyperv.driver",
    "qemu": "harness.vm.qemu.driver",
    "qemu_microvm": "harness.vm.qemu.microvm",
    "virtualbox": "harness.vm.virtualbox.driver",
    "vmware": "harness.vm.vmware.driver",
    "xen": "harness.vm.xen.driver",
}
"""The module of each hypervisor's driver, by the hypervisor's name in the matrix."""


def driver_names() -> frozenset[str]:
    """The hypervisors that have a driver."""
    return frozenset(DRIVERS)


def hypervisor(name: str) -> Hypervisor:
    """The driver of the hypervisor of that name."""
    if name not in driver_names():
        raise CellError(
            f"The hypervisor {name} is not driven yet.", f"Driven are: {', '.join(sorted(driver_names()))}."
        )
    return cast(Hypervisor, import_module(DRIVERS[name]).driver())
