"""What becomes of a cell on this host: it runs, can't, makes no sense, or has no driver yet."""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.cell import Cell
from harness.host import Host
from harness.matrix import Matrix, Rule


class Standing(StrEnum):
    """What a cell is here."""

    RUNS = "runs here"
    CANNOT = "can't run on this host"
    NOT_DRIVEN = "not driven yet"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Availability:
    """The standing of one cell and why, in one sentence; a cell that runs needs none.

    `kind` is the sentence before the cell's own values were put in: what many cells have in common.
    """

    cell: Cell
    standing: Standing
    reason: str = ""
    kind: str = ""


class Survey:
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
            return _by(rule, cell, Standing.INVALID)
        if cell.hypervisor not in self._driven:
            no_driver = Rule({}, {}, "There is no driver for {hypervisor} yet.")
            return _by(no_driver, cell, Standing.NOT_DRIVEN)
        for rule in self._matrix.gaps:
            if rule.applies(cell):
                return _by(rule, cell, Standing.NOT_DRIVEN)
        if cell.kernel == "osv" and self._osv_root is None:
            no_checkout = Rule({}, {}, "No OSv checkout is named; OSV_ROOT or --osv-root does.")
            return _by(no_checkout, cell, Standing.CANNOT)
        for rule in self._matrix.host_rules:
            if rule.applies(cell):
                for need in (name.format(arch=cell.arch) for name in rule.needs):
                    capability = self._host.capability(need)
                    if not (capability.present or need in self._given):
                        lacking = f" Here {capability.name} is lacking: {capability.found}."
                        return _by(rule, cell, Standing.CANNOT, lacking)
        return Availability(cell, Standing.RUNS)


def _by(rule: Rule, cell: Cell, standing: Standing, more: str = "") -> Availability:
    return Availability(cell, standing, rule.because(cell) + more, rule.reason + more)
