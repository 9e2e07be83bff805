"""The tests of a morning report: new failures, flaky tests, old failures, fixed tests, and stale expectations."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.metrics.history.records import VerdictRecord
from harness.metrics.records import Version
from harness.report.morning.rates import FailurePattern, PatternKind

INCONCLUSIVE = ("skipped", "reused", "harness_error")
"""Outcomes that say nothing of the kernel."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a test on a cell: in which night, and whether it failed unexpectedly."""

    night: int
    bad: bool
    judged: VerdictRecord


@dataclass(frozen=True, slots=True)
class CellRuns:
    """The runs of a test on one cell, oldest first, and the failure pattern that they show."""

    test: str
    cell: str
    runs: Sequence[Run]
    pattern: FailurePattern

    @property
    def last(self) -> Run:
        """The newest run."""
        return self.runs[-1]

    @property
    def first_bad(self) -> Run:
        """The first failure of the present state."""
        return next((run for run in self.runs[self.pattern.began :] if run.bad), self.last)

    @property
    def good_before(self) -> Run | None:
        """The last pass before the present state began; None if there is none."""
        return next((run for run in reversed(self.runs[: self.pattern.began]) if not run.bad), None)


@dataclass(frozen=True, slots=True)
class Group:
    """A test that does the same on several cells of one kernel.

    - `kind` is what it is by the runs of all these cells. `outcome` and `reason` are those of its most frequent
      failure.
    - `began` is the number of the night in which that began.
    - In the last `RECENT` nights, `bad` of `runs` failed. `rate` and its 95% `interval` leave out the first
      failure of each cell, because it decides where counting begins.
    - `rate_changed` is whether the rate of the newest third of these nights differs from the rate before.
    - `since` is the last version that passed and the first that failed, if all runs before passed and all since
      failed; else None.
    - `well_on` counts the other cells that passed the test last night. `silent` are failing cells without a result
      of last night.
    """

    test: str
    cells: Sequence[CellRuns]
    kind: PatternKind
    outcome: str
    reason: str
    began: int
    bad: int
    runs: int
    rate: float
    interval: tuple[float, float]
    rate_changed: bool
    since: tuple[Version, Version] | None
    well_on: int = 0
    silent: Sequence[str] = ()

    @property
    def first(self) -> CellRuns:
        """The cell on which it began first."""
        return min(self.cells, key=lambda one: (one.first_bad.judged.taken, one.cell))


@dataclass(frozen=True, slots=True)
class StaleExpectation:
    """A test that passes although its failure is expected: on these cells, for so many nights."""

    test: str
    cells: Sequence[str]
    nights: int
    judged: VerdictRecord


@dataclass(frozen=True, slots=True)
class BrokenCell:
    """A cell of which most tests failed last night, each run since the night `began`, with the most frequent
    reason."""

    cell: str
    reason: str
    began: int


@dataclass(frozen=True, slots=True)
class Tests:
    """All tests that the morning report mentions.

    - `unrun` are tests that ran the night before and not last night, with their cells.
    - `faults` are verdicts that say nothing of the kernel: faults of the host or of the harness.
    - `tonight` counts the verdicts of the last night, `good` those that were as expected.
    """

    new: Sequence[Group] = ()
    flaky: Sequence[Group] = ()
    still: Sequence[Group] = ()
    fixed: Sequence[Group] = ()
    stale: Sequence[StaleExpectation] = ()
    broken: Sequence[BrokenCell] = ()
    unrun: Sequence[tuple[str, Sequence[str]]] = ()
    faults: Sequence[VerdictRecord] = ()
    tonight: int = 0
    good: int = 0


def failed(judged: VerdictRecord) -> bool:
    """Whether the verdict says that the kernel failed a test that it was expected to pass."""
    return not judged.expected and judged.outcome not in (*INCONCLUSIVE, "passed", "flaky")
