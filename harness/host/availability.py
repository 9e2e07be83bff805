"""What becomes of a cell on this host: it runs, here or in a lab, can't, makes no sense, or has no driver."""

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
"""The hypervisors of a lab whose system is Debian's; other labs have those that the host has."""


class Support(StrEnum):
    """What a cell is here."""

    RUNS = "runs here"
    IN_LAB = "runs in the lab"
    CANNOT = "can't run on this host"
    NOT_DRIVEN = "not driven yet"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Availability:
    """The standing of one cell and why, in one sentence; a cell that runs needs none.

    `kind` is the sentence before the cell's own values were put in: what many cells have in common.
    """

    cell: Cell
    standing: Support
    reason: str = ""
    kind: str = ""


class AvailabilityCheck:
    """Says of each cell whether it runs here. `driven` are the hypervisors that have a driver; `given` are needs
    that the host need not meet, for somebody else has."""

    def __init__(
        self, matrix: Matrix, host: Host, driven: Collection[str], osv_root: Path | None,
        given: Collection[str] = (),
    ) -> None:  # fmt: skip
        self._matrix = matrix
        self._host = host
        self._driven = frozenset(driven)
        self._osv_root = osv_root
        self._given = frozenset(given)

    def of(self, cell: Cell) -> Availability:
        """The standing of the cell: the rules of the matrix come first, this host's last."""
        if rule := self._matrix.rule_against(cell):
            return _by(rule, cell, Support.INVALID)
        if cell.hypervisor not in self._driven:
            no_driver = Rule({}, {}, "There is no driver for {hypervisor} yet.")
            return _by(no_driver, cell, Support.NOT_DRIVEN)
        for rule in self._matrix.gaps:
            if rule.applies(cell):
                return _by(rule, cell, Support.NOT_DRIVEN)
        if cell.kernel == "osv" and self._osv_root is None:
            no_checkout = Rule({}, {}, "No OSv checkout is named; OSV_ROOT or --osv-root does.")
            return _by(no_checkout, cell, Support.CANNOT)
        lacking = list(self._lacking(cell))
        if not lacking:
            return Availability(cell, Support.RUNS)
        rule, capability = lacking[0]
        what = f" Here {capability.name} is lacking: {capability.found}."
        only_kvm = {row.name for _, row in lacking} == {f"kvm-{cell.arch}"}
        has_it = cell.hypervisor in ONLY_IN_LAB.get(cell.arch, (cell.hypervisor,))
        if only_kvm and has_it and self._host.capability(f"lab-{cell.arch}").present:
            return _by(rule, cell, Support.IN_LAB, f"{what} {IN_THE_LAB}")
        return _by(rule, cell, Support.CANNOT, what)

    def _lacking(self, cell: Cell) -> Iterator[tuple[Rule, Capability]]:
        """What the host lacks of what the cell needs, each with the rule that says so."""
        for rule in self._matrix.host_rules:
            if rule.applies(cell):
                for need in (name.format(arch=cell.arch) for name in rule.needs):
                    capability = self._host.capability(need)
                    if not (capability.present or need in self._given):
                        yield rule, capability


def _by(rule: Rule, cell: Cell, standing: Support, more: str = "") -> Availability:
    return Availability(cell, standing, rule.because(cell) + more, rule.reason + more)
