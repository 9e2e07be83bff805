"""How far a cell is supported on this host: it runs, here or in a lab, can't run, is invalid, or has no driver."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.core.cell import Cell
from harness.core.matrix import Matrix
from harness.core.rules import Rule
from harness.host.host import Host
from harness.host.requirements import Capability

IN_THE_LAB = "A lab has it: `osv-harness lab -- COMMAND`, or `pytest --lab`."


ONLY_IN_LAB = {"aarch64": ("qemu",)}
"""The hypervisors of a lab with Debian's system; other labs have those of the host."""


class Support(StrEnum):
    """How far a cell is supported."""

    RUNS = "runs here"
    IN_LAB = "runs in the lab"
    CANNOT = "can't run on this host"
    NOT_DRIVEN = "not driven yet"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Availability:
    """How far a cell is supported here and why, in one sentence; a cell that runs needs no reason.

    `kind` is the sentence before the cell's own values are inserted: what many cells share.
    """

    cell: Cell
    support: Support
    reason: str = ""
    kind: str = ""


class AvailabilityCheck:
    """Finds for each cell whether it runs here. `with_driver` are the hypervisors that have a driver; `assumed`
    are requirements that need not be checked here, because they are met elsewhere."""

    def __init__(
        self, matrix: Matrix, host: Host, with_driver: Collection[str], osv_root: Path | None,
        assumed: Collection[str] = (),
    ) -> None:  # fmt: skip
        self._matrix = matrix
        self._host = host
        self._with_driver = frozenset(with_driver)
        self._osv_root = osv_root
        self._assumed = frozenset(assumed)

    def of(self, cell: Cell) -> Availability:
        """How far the cell is supported: the matrix's rules are checked first, this host last."""
        if rule := self._matrix.rule_against(cell):
            return _by(rule, cell, Support.INVALID)
        if cell.hypervisor not in self._with_driver:
            no_driver = Rule({}, {}, "There is no driver for {hypervisor} yet.")
            return _by(no_driver, cell, Support.NOT_DRIVEN)
        for rule in self._matrix.gaps:
            if rule.applies(cell):
                return _by(rule, cell, Support.NOT_DRIVEN)
        if cell.kernel == "osv" and self._osv_root is None:
            no_checkout = Rule({}, {}, "No OSv checkout is named; OSV_ROOT or --osv-root does.")
            return _by(no_checkout, cell, Support.CANNOT)
        missing = list(self._missing(cell))
        if not missing:
            return Availability(cell, Support.RUNS)
        rule, capability = missing[0]
        what = f" Here {capability.name} is lacking: {capability.found}."
        only_kvm = {row.name for _, row in missing} == {f"kvm-{cell.arch}"}
        has_it = cell.hypervisor in ONLY_IN_LAB.get(cell.arch, (cell.hypervisor,))
        if only_kvm and has_it and self._host.capability(f"lab-{cell.arch}").present:
            return _by(rule, cell, Support.IN_LAB, f"{what} {IN_THE_LAB}")
        return _by(rule, cell, Support.CANNOT, what)

    def _missing(self, cell: Cell) -> Iterator[tuple[Rule, Capability]]:
        """The capabilities that the cell requires and the host lacks, each with the rule."""
        for rule in self._matrix.host_rules:
            if rule.applies(cell):
                for need in (name.format(arch=cell.arch) for name in rule.needs):
                    capability = self._host.capability(need)
                    if not (capability.present or need in self._assumed):
                        yield rule, capability


def _by(rule: Rule, cell: Cell, support: Support, more: str = "") -> Availability:
    return Availability(cell, support, rule.because(cell) + more, rule.reason + more)
