"""The tests that a history knows as flaky, for those who look for what makes them so."""

from collections import defaultdict
from collections.abc import Iterable

from harness.metrics.history.records import VerdictRecord
from harness.report.morning.rates import PatternKind, chance_of_failure, failure_pattern
from harness.report.morning.tests import INCONCLUSIVE, failed

FLAKY = "flaky"
"""The outcome of a test that failed and passed when it was run again."""


def flaky_tests(judged: Iterable[VerdictRecord], kernel: str) -> dict[str, float]:
    """The tests of the kernel that are flaky on some cell, each with the chance that its next run fails there, by
    how often and how lately it did; the greatest first."""
    runs: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for verdict in sorted(judged, key=lambda one: one.taken):
        if verdict.outcome not in INCONCLUSIVE and verdict.cell.startswith(f"{kernel}:"):
            runs[verdict.test, verdict.cell].append(failed(verdict) or verdict.outcome == FLAKY)
    chances: dict[str, float] = {}
    for (test, _), bad in runs.items():
        if failure_pattern(bad).kind is PatternKind.FLAKY:
            chances[test] = max(chances.get(test, 0.0), chance_of_failure(bad))
    return dict(sorted(chances.items(), key=lambda row: (-row[1], row[0])))
