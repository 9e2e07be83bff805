"""Progress of a pytest run of guests: prints counts and the time left from time to time."""

from collections import Counter
from collections.abc import Mapping, Sequence
from time import monotonic

import pytest

from harness.runner.verdict import Outcome

EVERY_SECONDS = 10.0
SECONDS_OF_UNKNOWN = 1.0
ESTIMATE_FROM = 0.1
"""The share of the work, by known seconds, that must be done before the time left is estimated."""


class ProgressReporter:
    """A pytest plugin of the controlling process. `known` is the longest recorded duration in seconds, by
    `cell/test`."""

    def __init__(self, config: pytest.Config, known: Mapping[str, float]) -> None:
        self._config = config
        self._known = known
        self._began = self._shown = monotonic()
        self._left: dict[str, float] = {}
        self._outcomes: Counter[str] = Counter()
        self._work_done = 0.0
        self._work = 0.0

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Take the list of tests, if this process runs them itself."""
        self._expect([item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, node: object, ids: Sequence[str]) -> None:
        """Take the list of tests, if workers run them."""
        self._expect(ids)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count one test, and print the counts if the last ones are some seconds old."""
        if report.when != "call":
            return
        self._work_done += self._left.pop(report.nodeid, 0.0)
        self._outcomes[_outcome_text(report)] += 1
        if self._left and monotonic() - self._shown >= EVERY_SECONDS:
            self._shown = monotonic()
            self._show()

    def _expect(self, ids: Sequence[str]) -> None:
        self._left = {name: self._known.get(name.partition("[")[2][:-1], SECONDS_OF_UNKNOWN) for name in ids}
        self._work = sum(self._left.values())

    def _show(self) -> None:
        done = sum(self._outcomes.values())
        elapsed = monotonic() - self._began
        means_something = self._work_done > ESTIMATE_FROM * self._work
        ahead = elapsed * sum(self._left.values()) / self._work_done if means_something else None
        left = "" if ahead is None else f"; about {ahead:.0f} s left"
        counts = ", ".join(f"{count} {outcome}" for outcome, count in self._outcomes.most_common())
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter:
            reporter.ensure_newline()
            reporter.write_line(f"{done} of {done + len(self._left)} run: {counts}{left}")


def _outcome_text(report: pytest.TestReport) -> str:
    """The outcome of one test, and whether it was expected if the outcome alone would mislead."""
    outcome = str(dict(report.user_properties).get("outcome", report.outcome))
    if report.failed and outcome == Outcome.PASSED:
        return f"{outcome} unexpectedly"
    # To pytest a flaky test is an expected failure, though nobody expected it.
    if report.skipped and hasattr(report, "wasxfail") and outcome != Outcome.FLAKY:
        return f"{outcome} as expected"
    return outcome
