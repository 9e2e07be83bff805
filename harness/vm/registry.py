"""The hypervisors that have a driver: one row each in `matrix.toml`."""

from importlib import import_module
from typing import cast

from harness.core import project
from harness.core.errors import CellError
from harness.vm.base import Hypervisor


def driver_names() -> frozenset[str]:
    """The hypervisors that have a driver."""
    return frozenset(project.shipped_values("hypervisor"))


def hypervisor(name: str) -> Hypervisor:
    """The driver of the hypervisor of that name."""
    if name not in driver_names():
        raise CellError(
            f"The hypervisor {name} is not driven yet.", f"Driven are: {', '.join(sorted(driver_names()))}."
        )
    return cast(Hypervisor, import_module(project.shipped_values("hypervisor")[name]["driver"]).driver())
