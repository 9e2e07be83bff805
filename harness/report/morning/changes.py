"""Groups findings by commit: the whole metrics that changed there, and their parts (boot phases, sections)."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from harness.analysis.regression.finding import Finding
from harness.metrics.records import Document, Metric, Version
from harness.report.morning.lasting_findings import lasting_findings

FLOOR = 0.005
"""The smallest relative change of a whole metric that is shown among the facts of the morning."""
PARTS_FLOOR = 0.01
"""The same for a part of a metric."""
BISECTED_WITHIN = 14 * 86400.0
"""Seconds for which the answer of a bisection is shown."""


@dataclass(frozen=True, slots=True)
class MetricChange:
    """A change of one metric of one subject at one commit, in the same direction on each of `cells`.

    - `of` is how many cells measure the metric.
    - `change` is the median of the cells' relative changes; `low` and `high` are the smallest and the greatest.
    - `exact` is how many of the cells measure it without noise. For the others, `probability` is the greatest
      probability of so great a change in a quiet series.
    - `levels` are the old and the new value on one of the cells.
    """

    metric: Metric
    subject: str
    cells: Sequence[str]
    of: int
    change: float
    low: float
    high: float
    exact: int
    probability: float
    levels: tuple[float, float]
    before: Version
    after: Version

    @property
    def worse(self) -> bool:
        """Whether the metric changed for the worse."""
        return (self.change > 0) == (self.metric.better == "lower")


@dataclass(frozen=True, slots=True)
class BisectionAnswer:
    """A commit that a bisection found: the metric, the cell, the relative change, and the probability that it
    is this commit."""

    commit: str
    metric: str
    cell: str
    change: float
    probability: float


@dataclass(frozen=True, slots=True)
class Step:
    """Everything that changed at one commit: whole metrics first, then their parts, and what bisections say of the
    commit.

    `before` is the last version without the change, `after` the first with it.
    """

    before: Version
    after: Version
    kernel: str
    wholes: Sequence[MetricChange]
    parts: Sequence[MetricChange]
    bisected: Sequence[BisectionAnswer] = ()

    @property
    def worse(self) -> bool:
        """Whether any whole metric changed for the worse."""
        return any(one.worse for one in self.wholes) or any(one.change > 0 for one in self.bisected)


@dataclass(frozen=True, slots=True)
class Changes:
    """The changes that were not undone since, newest first.

    `smaller` counts the findings that are left out: those below the floor, those of parts alone, and those that
    were undone.
    """

    steps: Sequence[Step] = ()
    smaller: int = 0


def changes_of(
    findings: Sequence[Finding], measured: Mapping[tuple[str, str, str], int], documents: Iterable[Document],
    now: float,
) -> Changes:  # fmt: skip
    """Group the findings by kernel and commit.

    `measured` is on how many cells each (kernel, metric, subject) is measured. `now` is in seconds since 1970;
    older bisections than `BISECTED_WITHIN` are left out.
    """
    stand = lasting_findings(findings)
    wholes = [one for one in stand if not one.metric.is_part and abs(one.change) >= FLOOR]
    parts = [one for one in stand if one.metric.is_part and abs(one.change) >= PARTS_FLOOR]
    moved = metric_changes(wholes, measured)
    by_commit: dict[tuple[str, str], list[MetricChange]] = defaultdict(list)
    for change in moved:
        by_commit[_kernel(change.cells[0]), change.after.commit].append(change)
    nested: dict[tuple[str, str], list[MetricChange]] = defaultdict(list)
    for change in metric_changes(parts, measured):
        nested[_kernel(change.cells[0]), change.after.commit].append(change)
    answers = _answers(documents, now)
    versions = {one.after.commit: (one.before, one.after) for one in findings}
    for commit, found in answers.items():
        if commit in versions:
            by_commit.setdefault((_kernel(found[0].cell), commit), [])
    steps = []
    for (kernel, commit), rows in by_commit.items():
        before, after = (rows[0].before, rows[0].after) if rows else versions[commit]
        ordered = sorted(rows, key=lambda one: (not one.worse, -len(one.cells), one.metric.name))
        below = sorted(nested.get((kernel, commit), ()), key=lambda one: -abs(one.change))
        steps.append(Step(before, after, kernel, ordered, below, answers.get(commit, ())))
    shown = sum(len(one.cells) for one in moved)
    return Changes(
        sorted(steps, key=lambda one: -one.after.committed), len(findings) - shown
    )


def metric_changes(
    findings: Sequence[Finding], measured: Mapping[tuple[str, str, str], int]
) -> list[MetricChange]:
    """Merge the findings of one metric that may come from one commit and go in the same direction.

    `measured` is on how many cells each (kernel, metric, subject) is measured.
    """
    alike: dict[tuple[str, str, str, bool], list[Finding]] = defaultdict(list)
    for finding in findings:
        alike[_kernel(finding.cell), finding.metric.name, finding.subject, finding.change > 0].append(finding)
    rows = []
    for (kernel, name, subject, _), found in alike.items():
        for group in _by_commit(found):
            rows.append(_metric_change(group, measured.get((kernel, name, subject), 0)))
    return rows


def _by_commit(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Split the findings into groups, each of which one commit can explain.

    The commit of a group is that of its most certain finding: an exact one if there is any, else the one with the
    smallest probability. Two findings of one cell are in one group only if both name the same commit.
    """
    left = sorted(findings, key=lambda one: (not one.metric.exact, one.probability))
    groups: list[list[Finding]] = []
    for finding in left:
        match = next((group for group in groups if _may_come_with(finding, group[0].after)), None)
        if match is None:
            groups.append([finding])
        elif all(finding.cell != other.cell or _same_commit(finding, other) for other in match):
            match.append(finding)  # of another builder, if of the same cell: one fact
        else:
            groups.append([finding])
    return groups


def _same_commit(one: Finding, other: Finding) -> bool:
    """Whether both steps came with the same commit."""
    return one.after.commit == other.after.commit


def _may_come_with(finding: Finding, after: Version) -> bool:
    """Whether the change of this finding may have come with the commit of that version.

    An exact finding names its commit. A noisy one is certain only of a range of commits, its span.
    """
    if finding.after.commit == after.commit:
        return True
    if finding.metric.exact or finding.span is None or not after.committed:
        return False
    return finding.span[0].committed < after.committed <= finding.span[1].committed


def _metric_change(group: Sequence[Finding], of: int) -> MetricChange:
    """Merge the findings of one group. `of` is how many cells measure the metric."""
    first = group[0]
    changes = [one.change for one in group]
    cells = sorted({one.cell for one in group})
    exact = {one.cell for one in group if one.metric.exact}
    noisy = [one.probability for one in group if not one.metric.exact]
    return MetricChange(
        first.metric, first.subject, cells, max(of, len(cells)), median(changes), min(changes), max(changes),
        len(exact), max(noisy, default=0.0), (first.old_level, first.new_level), first.before,
        first.after,
    )  # fmt: skip


def _answers(documents: Iterable[Document], now: float) -> dict[str, list[BisectionAnswer]]:
    """What recent bisections found, by commit. Skips documents of another format."""
    found: dict[str, list[BisectionAnswer]] = defaultdict(list)
    for document in documents:
        if document.kind != "bisect" or document.taken < now - BISECTED_WITHIN:
            continue
        try:
            for culprit in document.body["answer"]["culprits"]:
                answer = _answer(document, culprit)
                found[answer.commit].append(answer)
        except (KeyError, TypeError, ValueError, IndexError):
            continue
    return found


def _answer(document: Document, culprit: Mapping[str, Any]) -> BisectionAnswer:
    old = float(culprit["old_level"])
    change = float(culprit["change"]) / old if old else float(culprit["change"])
    return BisectionAnswer(
        str(culprit["commits"][0]), document.subject, document.cell, change, float(culprit["probability"])
    )


def _kernel(cell: str) -> str:
    return cell.partition(":")[0]
