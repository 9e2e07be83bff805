"""Measurements in pytest: takes them, stores them, and compares them with earlier ones."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from harness.analysis.regression.finding import Finding
from harness.analysis.regression.triage import KIND, reportable_findings
from harness.core.cell import Cell
from harness.core.errors import HarnessError, explained
from harness.core.events import subscribed
from harness.metrics import suite
from harness.metrics.records import Sample
from harness.report.model.formatting import percent, shown
from harness.report.progress import Progress
from harness.report.trend_plot import draw
from harness.runner.expectations import expected
from harness.runner.session import Session

LEAST = 1e-4
"""A smaller relative change fails no item: exact numbers show every change, and every kernel differs from the
last."""


class MeasurementTest:
    """Call it with a cell and a measurement: it passes if no number of it has become worse."""

    def __init__(
        self, session: Session, url: str | None, run: str, runs: Path, duration: float,
        record: Callable[[str, object], None],
    ) -> None:  # fmt: skip
        self._session = session
        self._url = url
        self._run = run
        self._runs = runs
        self._duration = duration
        self._record = record

    def __call__(self, cell: Cell, name: str) -> None:
        __tracebackhide__ = True
        from harness.metrics.history.store import History  # which in-guest tests have no use for

        try:
            with subscribed(Progress()):
                measured = suite.prepare(self._session, cell, name, self._run, self._duration).take()
            with History(self._url) as history:
                history.add(measured.records)
                series = {one.series for one in measured.samples}
                known = [one for one in history.samples(cell=str(cell)) if one.series in series]
                findings = reportable_findings(known, history.documents(KIND), history.graph())
        except (HarnessError, OSError) as error:
            if expectation := expected(cell, name.removeprefix("app-"), self._session.recorded_accelerator(cell)):
                pytest.xfail(f"not measured, as expected: {expectation.reason}")
            pytest.fail(f"harness_error: {explained(error)}", pytrace=False)
        for sample in measured.samples:
            self._record(sample.metric.name, f"{sample.value:g} {sample.metric.unit}")
        self._judge(measured.samples, known, findings)

    def _judge(self, measured: Sequence[Sample], known: Sequence[Sample], findings: Sequence[Finding]) -> None:
        __tracebackhide__ = True
        this = measured[0].version
        if all(one.version.commit == this.commit for one in known):
            self._record("baseline", "none yet")
            print(f"no baseline yet: {measured[0].cell} was measured for the first time, at {this.described}")
            return
        here = [one for one in findings if one.after.commit == this.commit]
        worse = [one for one in here if one.worse and abs(one.change) >= LEAST]
        if worse:
            path = draw(known, worse, self._runs)
            pytest.fail("\n".join([*(_finding_text(one) for one in worse), f"plotted in {path}"]), pytrace=False)


def _finding_text(finding: Finding) -> str:
    low, high = (percent(end) for end in finding.interval)
    how_sure = f"95% interval {low} to {high}, probability {finding.probability:.2g}"
    how_sure = "exact" if finding.metric.exact else how_sure
    rerun = "" if finding.metric.exact or finding.confirmed else "; not rerun yet: osv-harness findings --confirm"
    return (
        f"{finding.metric.name} of {finding.subject or 'the kernel'} on {finding.cell} is "
        f"{percent(finding.change)} worse since "
        f"{finding.after.described}: {shown(finding.old_level, finding.metric.unit)} to "
        f"{shown(finding.new_level, finding.metric.unit)} ({how_sure}{rerun})"
    )
