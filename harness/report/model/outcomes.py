"""Verdicts for people: the latest of each test, its history, and counts with words and symbols."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.metrics.history.records import VerdictRecord
from harness.metrics.history.verdict_table import VerdictTable
from harness.report.model.data import ReportData
from harness.report.model.figures import anchor
from harness.report.model.outcome_codes import codes_of
from harness.report.model.timeline import Timeline

MOST_RUNS = 20
"""Verdicts of one test in a report."""

MOST_VERDICTS = 60_000
"""Verdicts of all tests in a report: about 2 MB of it. Where there are more tests, each shows fewer."""

MOST_REASONS = 10_000
"""Different reasons in a report: at most 3 MB of it."""

LATEST_MOMENT = 8_640_000_000_000
"""The last second that JavaScript's calendar has."""

SYMBOLS = {
    "passed": "✓", "failed": "✗", "crashed": "‼", "hung": "∞", "timed_out": "⏱", "guest_ended": "⏻",
    "boot_failed": "⊘", "harness_error": "⚠", "skipped": "↷", "flaky": "≈", "reused": "↻",
}  # fmt: skip
"""Symbols that differ in shape, for people who can't distinguish their colours."""
UNKNOWN_SYMBOL = "?"

GOOD, EXPECTED, STALE, BAD = "good", "expected", "stale", "bad"


@dataclass(frozen=True)
class Test:
    """One test on one cell with its verdicts, oldest first; there is at least one."""

    cell: str
    suite: str
    name: str
    runs: VerdictTable

    @cached_property
    def latest(self) -> VerdictRecord:
        """The last verdict."""
        return self.runs[-1]

    @cached_property
    def codes(self) -> Sequence[str]:
        """The letters of the verdicts."""
        return codes_of(self.runs)


def by_test(report_data: ReportData) -> list[Test]:
    """Group the verdicts by test, ordered by cell, suite and name."""
    by_name = report_data.verdicts.by_time().grouped(lambda kind: (kind.cell, kind.suite, kind.test))
    return [Test(*key, runs) for key, runs in by_name]


def standing(judged: VerdictRecord) -> str:
    """How to take the verdict: `good`, `expected` (an expected failure), `bad`, or `stale`: a pass although a
    failure is expected, so that the expectation must be corrected."""
    if not judged.expected and judged.outcome != "skipped":
        return STALE if judged.outcome == "passed" else BAD
    return GOOD if judged.outcome in ("passed", "skipped", "reused") else EXPECTED


def symbol(outcome: str) -> str:
    """The outcome's symbol."""
    return SYMBOLS.get(outcome, UNKNOWN_SYMBOL)


def words(judged: VerdictRecord) -> str:
    """The outcome in words, with whether it was expected if that is not obvious."""
    outcome = judged.outcome.replace("_", " ")
    if judged.expected and judged.outcome not in ("passed", "skipped", "reused"):
        return f"{outcome} as expected"
    return f"{outcome} unexpectedly" if judged.outcome == "passed" and not judged.expected else outcome


@dataclass(frozen=True, slots=True)
class Count:
    """The number of tests with one outcome; `standing` is as of `standing()`."""

    number: int
    words: str
    symbol: str
    standing: str


def counts(tests: Sequence[Test]) -> list[Count]:
    """Count the latest outcomes of the tests; those that need attention come first."""
    found = Counter((standing(test.latest), words(test.latest), symbol(test.latest.outcome)) for test in tests)
    order = {BAD: 0, STALE: 1, GOOD: 2, EXPECTED: 3}
    return [
        Count(number, report_data, sign, how)
        for (how, report_data, sign), number in sorted(
            found.items(), key=lambda pair: (order[pair[0][0]], -pair[1])
        )
    ]


class Histories:
    """The tests of each cell for the page's script, with each reason of a cell written once."""

    def __init__(self, tests: Sequence[Test], timeline: Timeline) -> None:
        self._timeline = timeline
        self.most = max(1, min(MOST_RUNS, MOST_VERDICTS // max(1, len(tests))))
        self._cells: dict[str, list[Test]] = defaultdict(list)
        for test in tests:
            self._cells[test.cell].append(test)

    def shards(self) -> dict[str, Any]:
        """The tests of each cell, by the cell's anchor.

        A run is version, outcome, seconds, reason, and when it was (seconds since 1970). An outcome is words,
        symbol and standing. After `MOST_REASONS` reasons, runs have none.
        """
        return {anchor("cell", cell): self._of_cell(cell, tests) for cell, tests in self._cells.items()}

    def _of_cell(self, cell: str, tests: Sequence[Test]) -> dict[str, Any]:
        reasons: dict[str, int] = {"": 0}
        outcomes: dict[tuple[str, str, str], int] = {}
        most = MOST_REASONS // len(self._cells)
        rows = []
        for test in tests:
            runs = [self._run(judged, outcomes, reasons, most) for judged in test.runs[-self.most :]]
            rows.append({"name": test.name, "suite": test.suite, "runs": runs, "of": len(test.runs)})
        return {"cell": cell, "tests": rows, "outcomes": list(outcomes), "reasons": list(reasons)}

    def _run(
        self, judged: VerdictRecord, outcomes: dict[tuple[str, str, str], int], reasons: dict[str, int], most: int
    ) -> list[Any]:
        shown = words(judged), symbol(judged.outcome), standing(judged)
        outcome = outcomes.setdefault(shown, len(outcomes))
        if judged.reason not in reasons and len(reasons) < most:
            reasons[judged.reason] = len(reasons)
        number = self._timeline.number(judged.cell, judged.version)
        when = round(min(max(judged.taken, 0.0), LATEST_MOMENT))
        return [number, outcome, round(judged.seconds, 3), reasons.get(judged.reason, 0), when]
