"""The tests of a history by what is to be said of them: new failures, flaky ones, old ones, what is fixed, what is
out of date."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.metrics.history.records import VerdictRecord
from harness.metrics.records import Version
from harness.report.morning.rates import FailurePattern, PatternKind

INCONCLUSIVE = ("skipped", "harness_error")
"""Outcomes that say nothing of the kernel."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a test on a cell: whether it failed and was not expected to."""

    night: int
    bad: bool
    judged: VerdictRecord


@dataclass(frozen=True, slots=True)
class CellRuns:
    """A test's runs on one cell, old first, and what they say."""

    test: str
    cell: str
    runs: Sequence[Run]
    pattern: FailurePattern

    @property
    def last(self) -> Run:
        """The last run."""
        return self.runs[-1]

    @property
    def first_bad(self) -> Run:
        """The first failure of what goes on now."""
        return next((run for run in self.runs[self.pattern.began :] if run.bad), self.last)

    @property
    def good_before(self) -> Run | None:
        """The last run that was well before that."""
        return next((run for run in reversed(self.runs[: self.pattern.began]) if not run.bad), None)


@dataclass(frozen=True, slots=True)
class Group:
    """A test on the cells of one kernel where the same goes on: `kind` by all their runs together.

    `rate` and its 95% `interval` leave out the first failure of each cell, which said when to begin to count.
    `since` is the last good version and the first bad one, where the change was clean; else None. `bad` of `runs`
    failed in the nights of `RECENT`; `rate_changed` is whether the rate is another in the newest third of them.
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
        """The cell where it began first."""
        return min(self.cells, key=lambda one: (one.first_bad.judged.taken, one.cell))


@dataclass(frozen=True, slots=True)
class StaleExpectation:
    """A test that passes where it is expected not to, on these cells, for so many nights."""

    test: str
    cells: Sequence[str]
    nights: int
    judged: VerdictRecord


@dataclass(frozen=True, slots=True)
class Tests:
    """Everything there is to say of tests. `tonight` counts the verdicts of the last night, `good` those as
    expected; `broken` are cells of which most tests fail, each with a reason; `unrun` are tests that ran the night
    before and not last night, with the cells; `faults` say nothing of the kernel.
    """

    new: Sequence[Group] = ()
    flaky: Sequence[Group] = ()
    still: Sequence[Group] = ()
    fixed: Sequence[Group] = ()
    stale: Sequence[StaleExpectation] = ()
    broken: Mapping[str, str] = field(default_factory=dict)
    unrun: Sequence[tuple[str, Sequence[str]]] = ()
    faults: Sequence[VerdictRecord] = ()
    tonight: int = 0
    good: int = 0


def failed(judged: VerdictRecord) -> bool:
    """Whether it says that the kernel fails a test that it is expected to pass."""
    return not judged.expected and judged.outcome not in (*INCONCLUSIVE, "passed", "flaky")
