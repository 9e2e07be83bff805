"""Groups findings by commit: the whole metrics that changed there, and their parts (boot phases, sections)."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from statistics import median

from harness.analysis.regression.finding import Finding
from harness.metrics.records import Metric, Version
from harness.report.morning.bisection_answers import BisectionAnswer
from harness.report.morning.lasting_findings import lasting_findings, undoing_findings

Place = tuple[str, str]
"""A kernel and a commit."""
FLOOR = 0.005
"""The smallest relative change of a whole metric that is shown among the facts of the morning."""
PARTS_FLOOR = 0.01
"""The same for a part of a metric."""


@dataclass(frozen=True, slots=True)
class MetricChange:
    """A change of one metric of one subject at one commit, in the same direction on each of `cells`.

    - `of` is how many cells measure the metric.
    - `change` is the median of the cells' relative changes; `low` and `high` are the smallest and the greatest.
    - `exact` is how many of the cells measure it without noise. For the others, `probability` is the greatest
      probability of so great a change in a quiet series.
    - `levels` are the old and the new value on one of the cells.
    - `before` is the last version without the change and `after` the first with it, of the most certain finding.
      The change surely lies between the two versions of `span`, which is wider for a metric with noise.
    - `ranges` are the pairs of commits between which a bisection may have looked for it.
    - `undoes` is whether it brought back on each cell what an earlier commit had made worse.
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
    span: tuple[Version, Version]
    ranges: Set[tuple[str, str]]
    undoes: bool = False

    @property
    def worse(self) -> bool:
        """Whether the metric changed for the worse."""
        return (self.change > 0) == (self.metric.better == "lower")


@dataclass(frozen=True, slots=True)
class Step:
    """Everything that changed at one commit: whole metrics first, then their parts, and what bisections say of the
    commit.

    `before` is the last version without the change, `after` the first with it. The commit surely lies between the
    two versions of `span`: the same two, unless all that changed is noisy.
    """

    before: Version
    after: Version
    kernel: str
    wholes: Sequence[MetricChange]
    parts: Sequence[MetricChange]
    bisected: Sequence[BisectionAnswer] = ()

    @property
    def span(self) -> tuple[Version, Version]:
        """The narrowest range between whose two versions every whole metric changed."""
        return _narrowest([one.span for one in self.wholes], (self.before, self.after))

    @property
    def undoes(self) -> bool:
        """Whether nothing but what an earlier commit had made worse changed: then nothing is left of both."""
        return bool(self.wholes) and not self.bisected and all(one.undoes for one in self.wholes)

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
    findings: Sequence[Finding], measured: Mapping[tuple[str, str, str], int], answers: Iterable[BisectionAnswer]
) -> Changes:
    """Group the findings by kernel and commit, and add what bisections of metrics found.

    `measured` is on how many cells each (kernel, metric, subject) is measured.
    """
    stand = lasting_findings(findings)
    wholes = [one for one in stand if not one.metric.is_part and abs(one.change) >= FLOOR]
    parts = [one for one in stand if one.metric.is_part and abs(one.change) >= PARTS_FLOOR]
    undoing = {id(one) for one in undoing_findings(findings)}
    moved = metric_changes(wholes, measured, undoing)
    by_commit, nested = _at_commits(moved), _at_commits(metric_changes(parts, measured))
    told, alone = _matched([one for one in answers if not one.of_test], by_commit, findings, stand)
    steps = []
    for (kernel, commit), rows in by_commit.items():
        ordered = sorted(rows, key=lambda one: (not one.worse, -len(one.cells), one.metric.name))
        below, found = _below(nested, kernel, commit), told[kernel, commit]
        steps.append(Step(rows[0].before, rows[0].after, kernel, ordered, below, found))
    versions = {one.after.commit: (one.before, one.after) for one in findings}
    for (kernel, commit), found in alone.items():
        # A commit between two nights was never measured, and has no version in the history.
        unknown = Version(found[0].good, "", "", found[0].taken), Version(commit, "", "", found[0].taken)
        below = _below(nested, kernel, commit)
        steps.append(Step(*versions.get(commit, unknown), kernel, (), below, found))
    shown = sum(len(one.cells) for one in moved)
    return Changes(sorted(steps, key=lambda one: -one.after.committed), len(findings) - shown)


def _at_commits(moved: Iterable[MetricChange]) -> dict[Place, list[MetricChange]]:
    found: dict[Place, list[MetricChange]] = defaultdict(list)
    for change in moved:
        found[_kernel(change.cells[0]), change.after.commit].append(change)
    return found


def _below(nested: Mapping[Place, Sequence[MetricChange]], kernel: str, commit: str) -> list[MetricChange]:
    return sorted(nested.get((kernel, commit), ()), key=lambda one: -abs(one.change))


def _matched(
    answers: Iterable[BisectionAnswer], by_commit: Mapping[Place, Sequence[MetricChange]],
    findings: Iterable[Finding], stand: Iterable[Finding],
) -> tuple[dict[Place, list[BisectionAnswer]], dict[Place, list[BisectionAnswer]]]:  # fmt: skip
    """The answers about each of the steps, and those about none of them, by their own commit.

    An answer is about the step of its commit, or else about that between whose ends it looked. Answers about
    changes that were undone since are left out.
    """
    told: dict[Place, list[BisectionAnswer]] = defaultdict(list)
    alone: dict[Place, list[BisectionAnswer]] = defaultdict(list)
    lasting = {id(one) for one in stand}
    undone = [one for one in findings if id(one) not in lasting]
    for answer in answers:
        own = _kernel(answer.cell), answer.commit
        place = own if own in by_commit else next(
            (place for place, rows in by_commit.items() if any(_looked_for(answer, one) for one in rows)), None
        )  # fmt: skip
        if place is not None:
            told[place].append(answer)
        elif not any(_is_of(answer, one) for one in undone):
            alone[own].append(answer)
    return told, alone


def _looked_for(answer: BisectionAnswer, change: MetricChange) -> bool:
    return (
        answer.name == change.metric.name and answer.cell in change.cells
        and (answer.good, answer.bad) in change.ranges
    )  # fmt: skip


def _is_of(answer: BisectionAnswer, finding: Finding) -> bool:
    if (answer.name, answer.cell) != (finding.metric.name, finding.cell):
        return False
    return answer.commit == finding.after.commit or (answer.good, answer.bad) in _ranges([finding])


def metric_changes(
    findings: Sequence[Finding], measured: Mapping[tuple[str, str, str], int], undoing: Set[int] = frozenset()
) -> list[MetricChange]:
    """Merge the findings of one metric that may come from one commit and go in the same direction.

    `measured` is on how many cells each (kernel, metric, subject) is measured. `undoing` has the `id()` of the
    findings that undid an earlier one.
    """
    alike: dict[tuple[str, str, str, bool], list[Finding]] = defaultdict(list)
    for finding in findings:
        alike[_kernel(finding.cell), finding.metric.name, finding.subject, finding.change > 0].append(finding)
    rows = []
    for (kernel, name, subject, _), found in alike.items():
        for group in _by_commit(found):
            undoes = all(id(one) in undoing for one in group)
            rows.append(_metric_change(group, measured.get((kernel, name, subject), 0), undoes))
    return rows


def _by_commit(findings: Sequence[Finding]) -> list[list[Finding]]:
    """Split the findings into groups, each of which one commit can explain.

    The commit of a group is that of its most certain finding: an exact one if there is any, else the one with the
    smallest probability. Two findings of one cell are in one group only if both name the same commit.
    """
    left = sorted(findings, key=lambda one: (not one.metric.exact, one.probability))
    groups: list[list[Finding]] = []
    for finding in left:
        match = next((group for group in groups if _may_come_with(finding, group[0])), None)
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


def _may_come_with(finding: Finding, other: Finding) -> bool:
    """Whether the change of this finding may have come with the commit of the other, more certain one.

    An exact finding names its commit. A noisy one is certain only of a range of commits, its span; of hundreds a
    few miss it by a version, and two commits that change the same metric in a row are rarer.
    """
    if finding.after.commit == other.after.commit:
        return True
    if finding.metric.exact or finding.span is None or not other.after.committed:
        return False
    low, high = (version.committed for version in finding.span)
    return low <= other.after.committed and other.before.committed <= high


def _metric_change(group: Sequence[Finding], of: int, undoes: bool) -> MetricChange:
    """Merge the findings of one group. `of` is how many cells measure the metric."""
    first = group[0]
    changes = [one.change for one in group]
    cells = sorted({one.cell for one in group})
    exact = {one.cell for one in group if one.metric.exact}
    noisy = [one.probability for one in group if not one.metric.exact]
    return MetricChange(
        first.metric, first.subject, cells, max(of, len(cells)), median(changes), min(changes), max(changes),
        len(exact), max(noisy, default=0.0), (first.old_level, first.new_level), first.before,
        first.after, _narrowest([_span(one) for one in group], (first.before, first.after)), _ranges(group),
        undoes,
    )  # fmt: skip


def _span(finding: Finding) -> tuple[Version, Version]:
    """The versions between which the step of this finding surely lies. An exact one names its commit."""
    return finding.span if finding.span and not finding.metric.exact else (finding.before, finding.after)


def _ranges(findings: Sequence[Finding]) -> set[tuple[str, str]]:
    pairs = [(one.before, one.after) for one in findings] + [one.span for one in findings if one.span]
    return {(before.commit, after.commit) for before, after in pairs}


def _narrowest(
    spans: Sequence[tuple[Version, Version]], likeliest: tuple[Version, Version]
) -> tuple[Version, Version]:
    """What several ranges have in common, all of which hold the `likeliest` one."""
    before, after = likeliest
    if not spans or not all(version.committed for span in spans for version in span):
        return spans[0] if spans else likeliest
    low = max((one for one, _ in spans), key=lambda one: one.committed)
    high = min((one for _, one in spans), key=lambda one: one.committed)
    return (
        low if low.committed <= before.committed else before,
        high if high.committed >= after.committed else after,
    )


def _kernel(cell: str) -> str:
    return cell.partition(":")[0]
