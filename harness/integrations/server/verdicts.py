"""The verdicts of a history as responses: all of them in pages, and the runs of the last day."""

from collections.abc import Sequence
from time import time

from harness.integrations.server.models import CellTally, Live, LiveRun, Number, Verdict, Verdicts, VersionFact
from harness.metrics.history.reader import Tally
from harness.metrics.history.records import VerdictRecord
from harness.metrics.history.store import History
from harness.metrics.records import Sample
from harness.report.model.data import safe_text

LONGEST_REASON = 2000
"""Characters; those in the page are shorter."""

DAY = 86_400.0
ALIVE = 1800.0
"""Seconds without a record after which a run counts as ended: the longest test takes less."""

MOST_RUNS = 20


def verdict(number: int, record: VerdictRecord) -> Verdict:
    """One verdict, with texts that are safe to show."""
    version = VersionFact(commit=safe_text(record.version.commit), described=safe_text(record.version.described))
    return Verdict(
        number=number, id=record.id, suite=safe_text(record.suite), cell=safe_text(record.cell),
        test=safe_text(record.test), outcome=safe_text(record.outcome), expected=record.expected,
        reason=safe_text(record.reason, LONGEST_REASON),
        seconds=record.seconds, version=version, host=safe_text(record.environment.host),
        accelerator=safe_text(record.environment.accelerator), run=safe_text(record.run), taken=record.taken,
    )  # fmt: skip


def paged(rows: Sequence[tuple[int, VerdictRecord]], most: int) -> Verdicts:
    """The first `most` of them, and where the next page starts."""
    shown = [verdict(*row) for row in rows[:most]]
    return Verdicts(verdicts=shown, next=rows[most - 1][0] if len(rows) > most else None)


def number(sample: Sample) -> Number:
    """One sample."""
    version = VersionFact(commit=safe_text(sample.version.commit), described=safe_text(sample.version.described))
    return Number(
        id=sample.id, value=sample.value, unit=safe_text(sample.metric.unit), cell=safe_text(sample.cell),
        about=safe_text(sample.subject), version=version, run=safe_text(sample.run), taken=sample.taken,
    )  # fmt: skip


def live(history: History, usual: int) -> Live:
    """The runs from which the history got records in the last day."""
    after, now = history.state().judged, time()
    of_run: dict[str, list[Tally]] = {}
    for one in history.tallies(now - DAY):
        of_run.setdefault(one.run, []).append(one)
    runs = sorted((_run(now, rows) for rows in of_run.values()), key=lambda run: -run.last)[:MOST_RUNS]
    running = any(run.silent < ALIVE for run in runs)
    return Live(now=now, running=running, runs=runs, usual=usual, after=after)


def _run(now: float, rows: Sequence[Tally]) -> LiveRun:
    last = max(row.last for row in rows)
    cells = [
        CellTally(
            cell=safe_text(row.cell), verdicts=row.verdicts, unexpected=row.verdicts - row.expected,
            samples=row.samples,
        )
        for row in sorted(rows, key=lambda row: row.cell)
    ]  # fmt: skip
    return LiveRun(
        run=safe_text(rows[0].run), began=min(row.first for row in rows), last=last, silent=max(0.0, now - last),
        verdicts=sum(one.verdicts for one in cells), unexpected=sum(one.unexpected for one in cells),
        samples=sum(one.samples for one in cells), cells=cells,
    )  # fmt: skip
