"""Tests that are expected not to pass, and the comparison of their outcomes with the expectation."""

from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from harness.core import project
from harness.core.cell import Cell
from harness.core.errors import HarnessError
from harness.host.in_lab import IN_A_LAB
from harness.runner.verdict import Outcome

FILE = "expectations.toml"
GOOD = (Outcome.PASSED, Outcome.SKIPPED)


@dataclass(frozen=True, slots=True)
class Expectation:
    """Which tests on which cells (patterns of full names) end in one of `outcomes`, why, and until when. With an
    `accelerator` it holds only under that one, in a lab as on a host."""

    cells: tuple[str, ...]
    tests: str
    outcomes: tuple[Outcome, ...]
    reason: str
    expires: date
    issue: str = ""
    accelerator: str = ""

    def covers(self, cell: Cell, test: str, accelerator: str) -> bool:
        """Whether it holds for this test on this cell, under this accelerator."""
        return self.is_of(cell, accelerator) and self.is_about(test)

    def is_of(self, cell: Cell, accelerator: str) -> bool:
        """Whether it holds for some test on this cell, under this accelerator."""
        name, plain = str(cell), accelerator.removesuffix(IN_A_LAB)
        return self.accelerator in ("", accelerator, plain) and any(fnmatchcase(name, one) for one in self.cells)

    def is_about(self, test: str) -> bool:
        """Whether it holds for this test on some cell."""
        return fnmatchcase(test, self.tests)


def expected(cell: Cell, test: str, accelerator: str) -> Expectation | None:
    """The first expectation that covers the test on the cell."""
    rows = (row for file in project.files(FILE) for row in _rows(file))
    return next((row for row in rows if row.covers(cell, test, accelerator)), None)


def entries(file: Path) -> tuple[Expectation, ...]:
    """The entries of one file, in order. Raises `HarnessError` if one is wrong."""
    return _rows(file)


def expectation_mismatch(expectation: Expectation, outcome: Outcome, today: date) -> str:
    """How the outcome differs from the expectation, and what to edit; empty if it was met."""
    where = f"the entry cells = {', '.join(expectation.cells)!r}, tests = {expectation.tests!r} of {FILE}"
    if expectation.expires < today:
        return f"{where} expired on {expectation.expires}: look again, and renew or remove it"
    if outcome in expectation.outcomes:
        return ""
    meant = " or ".join(expectation.outcomes)
    if outcome is Outcome.PASSED:
        return f"it passed, where {meant} was expected: remove {where}"
    return f"it ended as {outcome}, where {meant} was expected: look at it, and correct {where}"


def is_expected(cell: Cell, test: str, accelerator: str, outcome: Outcome) -> bool:
    """Whether the outcome is expected of the test today: without an expectation, a pass or a skip."""
    expectation = expected(cell, test, accelerator)
    return not expectation_mismatch(expectation, outcome, date.today()) if expectation else outcome in GOOD


@cache
def _rows(file: Path) -> tuple[Expectation, ...]:
    rows = []
    for row in project.read(file).get("expect", []):
        try:
            rows.append(
                Expectation(
                    _each(row["cells"]), row["tests"], tuple(map(Outcome, _each(row["outcome"]))), row["reason"],
                    row["expires"], row.get("issue", ""), row.get("accelerator", ""),
                )
            )  # fmt: skip
        except (KeyError, ValueError, TypeError) as error:
            raise HarnessError(f"An entry of {file} is wrong: {error}.", f"The entry: {row}") from error
    return tuple(rows)


def _each(one_or_more: str | list[str]) -> tuple[str, ...]:
    return (one_or_more,) if isinstance(one_or_more, str) else tuple(one_or_more)
