"""Prints the history of one test: what it is on each cell, a strip of nights, and its failures, newest last."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from harness.metrics.history.records import VerdictRecord
from harness.report.model.formatting import moment, version_name
from harness.report.morning.nights import Nights
from harness.report.morning.rates import PatternKind, failure_pattern
from harness.report.morning.tests import INCONCLUSIVE, CellRuns, Run, failed
from harness.report.morning.text import number, short, strip


def of_test(judged: Sequence[VerdictRecord], most: int) -> Iterator[str]:
    """The history of one test as lines of text, which must still be made safe for a terminal. Lines may be
    longer than 80 columns. At most `most` failures are listed."""
    if not judged:
        yield "It has no run in this history."
        return
    ordered = sorted(judged, key=lambda one: one.taken)
    nights = Nights(ordered)
    runs: dict[str, list[Run]] = defaultdict(list)
    for one in ordered:
        if one.outcome not in INCONCLUSIVE:
            runs[one.cell].append(Run(nights.number(one.taken), failed(one), one))
    bad = [one for one in ordered if failed(one)]
    yield f"{ordered[0].test}: {number(len(bad), 'failure')} in {number(len(ordered), 'run')} not expected"
    for cell, found in sorted(runs.items()):
        said = CellRuns(ordered[0].test, cell, found, failure_pattern([run.bad for run in found]))
        signs = "".join(sign for sign, _ in strip(said, nights.last))
        yield f"{signs} {_kind(said)} {short(cell)}"
    for one in bad[-most:]:
        yield f"{moment(one.taken)[:10]} {version_name(one.version)} {short(one.cell)} {one.outcome}: {one.reason}"


def _kind(one: CellRuns) -> str:
    """What the test is on one cell, with the rate if it is flaky."""
    said = one.pattern
    if said.kind is PatternKind.FLAKY:
        return f"flaky {said.rate:.0%} ({said.interval[0]:.0%} to {said.interval[1]:.0%})"
    return f"{said.kind} {said.bad} of {said.runs}" if said.kind is not PatternKind.WELL else "well"
