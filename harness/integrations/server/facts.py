"""The facts of the morning as the JSON interface shows them."""

from collections.abc import Iterator, Sequence
from time import time

from harness.integrations.server.models import (
    CellFact,
    Facts,
    Failure,
    Kind,
    Missing,
    MovedMetric,
    Night,
    Range,
    Step,
    VersionFact,
)
from harness.metrics.records import Version
from harness.report.morning import changes
from harness.report.morning.report import Morning
from harness.report.morning.tests import CellRuns, Group
from harness.runner.failure_titles import identity

MOST_FAILURES = 500
"""Of one kind; the page shows fewer."""


def of_test(kernel: str, test: str) -> str:
    """The subject of a test of a kernel."""
    return f"test/{kernel}/{test}"


def of_step(kernel: str, commit: str) -> str:
    """The subject of a step at a commit."""
    return f"step/{kernel}/{commit}"


def of_cell(cell: str) -> str:
    """The subject of a cell without a result."""
    return f"cell/{cell}"


def facts(morning: Morning, state: str) -> Facts:
    """All facts; the texts of `morning` are safe to show."""
    nights, tests = morning.nights, morning.tests
    last = nights.every[-1] if nights.every else None
    night = None if last is None else Night(
        date=morning.date, began=last.began, ended=last.ended, cells=morning.ran, verdicts=tests.tonight,
        expected=tests.good,
    )  # fmt: skip
    kinds: dict[Kind, Sequence[Group]] = {
        "new": tests.new, "flaky": tests.flaky, "still": tests.still, "fixed": tests.fixed
    }  # fmt: skip
    return Facts(
        state=state, made=time(), headline=morning.headline, sign=morning.sign, night=night,
        version=version(morning.version) if morning.version else None,
        failures=[one for kind, groups in kinds.items() for one in _failures(kind, groups, nights.last)],
        steps=[_step(one, one in morning.new_steps) for one in morning.changes.steps],
        missing=[Missing(subject=of_cell(one.cell), cell=one.cell, nights=one.nights) for one in morning.missing],
    )  # fmt: skip


def version(one: Version) -> VersionFact:
    """The commit and its name."""
    return VersionFact(commit=one.commit, described=one.described)


def _failures(kind: Kind, groups: Sequence[Group], last: int) -> Iterator[Failure]:
    for group in groups[:MOST_FAILURES]:
        kernel = group.cells[0].cell.partition(":")[0]
        since = Range(good=version(group.since[0]), bad=version(group.since[1])) if group.since else None
        yield Failure(
            subject=of_test(kernel, group.test), kind=kind, test=group.test, kernel=kernel, outcome=group.outcome,
            reason=group.reason, identity=identity(group.outcome, group.reason),
            cells=[_cell(one) for one in group.cells], nights=last - group.began + 1,
            began=group.first.first_bad.judged.taken, bad=group.bad, runs=group.runs, since=since,
        )  # fmt: skip


def _cell(one: CellRuns) -> CellFact:
    """The cell, and its last failure: a later run that passed has no evidence."""
    bad = next((run.judged for run in reversed(one.runs) if run.bad), one.last.judged)
    return CellFact(cell=one.cell, run=bad.run, taken=bad.taken)


def _step(step: changes.Step, new: bool) -> Step:
    moved = [
        MovedMetric(
            metric=one.metric.name, about=one.subject, change=one.change, worse=one.worse, cells=list(one.cells),
            of=one.of, since=Range(good=version(one.span[0]), bad=version(one.span[1])),
        )
        for one in step.wholes
    ]  # fmt: skip
    return Step(
        subject=of_step(step.kernel, step.after.commit), kernel=step.kernel, before=version(step.before),
        after=version(step.after), worse=step.worse, new=new, moved=moved,
    )  # fmt: skip
