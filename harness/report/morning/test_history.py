"""Prints the history of one test: what it is on each cell, a strip of nights, and its failures, newest last."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from harness.metrics.history.records import VerdictRecord
from harness.report.model.formatting import moment, version_name
from harness.report.morning.nights import Nights, Plan
from harness.report.morning.rates import PatternKind, failure_pattern
from harness.report.morning.tests import INCONCLUSIVE, CellRuns, Run, failed
from harness.report.morning.text import number, short, strip


def of_test(judged: Sequence[VerdictRecord], most: int, plans: Sequence[Plan] = ()) -> Iterator[str]:
    """The history of one test as lines of text, which must still be made safe for a terminal. Lines may be
    longer than 80 columns. At most `most` failures are listed."""
    if not judged:
        yield "It has no run in this history."
        return
    ordered = sorted(judged, key=lambda one: one.taken)
    nights = Nights(ordered, plans)
    runs: dict[str, list[Run]] = defaultdict(list)
    for verdict in ordered:
        if verdict.outcome not in INCONCLUSIVE:
            runs[verdict.cell].append(Run(nights.number(verdict.taken), failed(verdict), verdict))
    bad = [one for one in ordered if failed(one)]
    yield f"{ordered[0].test}: {number(len(bad), 'failure')} in {number(len(ordered), 'run')} not expected"
    for cell, found in sorted(runs.items()):
        cell_runs = CellRuns(ordered[0].test, cell, found, failure_pattern([run.bad for run in found]))
        signs = "".join(sign for sign, _ in strip(cell_runs, nights.last))
        yield f"{signs} {_kind(cell_runs)} {short(cell)}"
    for verdict in bad[-most:]:
        when = f"{moment(verdict.taken)[:10]} {version_name(verdict.version)}"
        yield f"{when} {short(verdict.cell)} {verdict.outcome}: {verdict.reason}"


def _kind(cell_runs: CellRuns) -> str:
    """What the test is on one cell, with the rate if it is flaky."""
    pattern = cell_runs.pattern
    if pattern.kind is PatternKind.FLAKY:
        return f"flaky {pattern.rate:.0%} ({pattern.interval[0]:.0%} to {pattern.interval[1]:.0%})"
    return f"{pattern.kind} {pattern.bad} of {pattern.runs}" if pattern.kind is not PatternKind.WELL else "well"
