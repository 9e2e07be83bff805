"""Names the tests that a history knows as flaky, for those who look for what makes them so."""

from collections import defaultdict
from collections.abc import Iterable

from harness.metrics.history.records import VerdictRecord
from harness.report.morning.rates import PatternKind, failure_pattern
from harness.report.morning.tests import INCONCLUSIVE, failed

FLAKY = "flaky"
"""The outcome of a test that failed and passed when it was run again."""


def flaky_names(judged: Iterable[VerdictRecord], kernel: str) -> list[str]:
    """The tests of the kernel that are flaky on some cell, those that fail most often first."""
    runs: dict[tuple[str, str], list[bool]] = defaultdict(list)
    for verdict in sorted(judged, key=lambda one: one.taken):
        if verdict.outcome not in INCONCLUSIVE and verdict.cell.startswith(f"{kernel}:"):
            runs[verdict.test, verdict.cell].append(failed(verdict) or verdict.outcome == FLAKY)
    rates: dict[str, float] = {}
    for (test, _), bad in runs.items():
        pattern = failure_pattern(bad)
        if pattern.kind is PatternKind.FLAKY:
            rates[test] = max(rates.get(test, 0.0), pattern.rate)
    return sorted(rates, key=lambda test: (-rates[test], test))
