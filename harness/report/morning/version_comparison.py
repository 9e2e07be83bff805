"""Compares the newest version of a kernel with the one before it: tests that broke, metrics that changed, and
what could not be compared."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.analysis.ab.sequential_test import Judgement
from harness.analysis.regression.grouping import kernel_of
from harness.core.errors import HarnessError
from harness.metrics.history.records import VerdictRecord
from harness.metrics.records import Document, Version
from harness.report.model.data import ReportData
from harness.report.morning.changes import FLOOR, MetricChange, metric_changes
from harness.report.morning.rates import PatternKind, failure_pattern
from harness.report.morning.tests import INCONCLUSIVE, failed

EXACT_FLOOR = 0.0001
"""The smallest relative change of an exact metric that is reported. Every commit moves code a little, which
changes exact metrics by less."""

Rows = Mapping[str, tuple[Sequence[str], str]]
"""By test: the cells on which it did that, and the reason of the verdict on the first of them."""


@dataclass(frozen=True, slots=True)
class VersionComparison:
    """Version `b` of a kernel compared with version `a`, which is None where no older version is recorded.

    - `broke` and `fixed` are tests whose outcome changed. `already` are those that failed at `a`, too.
    - `flaky` are tests that fail now and then, and failed at `b`.
    - `stale` are tests that pass although their failure is expected, with their cells.
    - `missing` are cells with results of `a` and none of `b`.
    - `moved` are metrics that changed at `b`. `judgements` are the results of A/B tests of `b`, each with its
      cell.
    - `verdicts` and `series` count what was compared: tests by cell, and metrics by cell and subject.
    - `why` says why nothing was compared, if that is so.
    """

    kernel: str
    a: Version | None
    b: Version
    broke: Rows = field(default_factory=dict)
    flaky: Rows = field(default_factory=dict)
    fixed: Rows = field(default_factory=dict)
    already: Rows = field(default_factory=dict)
    stale: Mapping[str, Sequence[str]] = field(default_factory=dict)
    missing: Sequence[str] = ()
    moved: Sequence[MetricChange] = ()
    judgements: Sequence[tuple[str, Judgement]] = ()
    verdicts: int = 0
    series: int = 0
    why: str = ""

    @property
    def compared(self) -> bool:
        """Whether anything was measured or tested of both versions."""
        return self.verdicts + self.series + len(self.judgements) > 0


def compare_versions(report_data: ReportData, commit: str = "") -> VersionComparison:
    """Compare a version of a kernel with the newest other one.

    The version is that of `commit`, or the newest one if that is empty. The kernel is OSv if the history has
    results of it. `report_data` must not be empty.
    """
    kernels = {kernel_of(row.cell) for row in report_data.rows if commit in ("", row.version.commit)}
    kernel = "osv" if "osv" in kernels or not kernels else min(kernels)
    a, b = _last_two(report_data, kernel, commit)
    judged = [one for one in report_data.judged if kernel_of(one.cell) == kernel]
    measured: dict[str, set[tuple[str, str, str]]] = defaultdict(set)
    for sample in report_data.samples:
        if kernel_of(sample.cell) == kernel:
            measured[sample.version.commit].add((sample.metric.name, sample.cell, sample.subject))
    kinds = _sorted_out(judged, a, b)
    old = a.commit if a else ""
    series = measured[b.commit] & measured[old] if a else set()
    cells = {commit: {one.cell for one in judged if one.version.commit == commit} for commit in (old, b.commit)}
    for commit, named in measured.items():
        if commit in cells:
            cells[commit] |= {cell for _, cell, _ in named}
    verdicts = kinds.pop("compared")
    compared = [document for document in report_data.documents if document.version.commit == b.commit]
    pairs = [one for document in compared for one in _of_pairs(document)]
    why = "nothing that was run of this version was run of the base" if a else "there is one version alone"
    return VersionComparison(
        kernel, a, b, kinds["broke"], kinds["flaky"], kinds["fixed"], kinds["already"],
        {test: found for test, (found, _) in kinds["stale"].items()},
        sorted(cells[old] - cells[b.commit]) if a else (), _moved(report_data, kernel, b, measured), pairs,
        sum(len(found) for found, _ in verdicts.values()), len(series), why,
    )  # fmt: skip


def _last_two(report_data: ReportData, kernel: str, commit: str) -> tuple[Version | None, Version]:
    """The newest version other than `b`, and `b`: the version of `commit`, or the newest one.

    Versions are ordered by the dates of their commits if all are known, else by when they were first measured.
    """
    first: dict[str, tuple[float, Version]] = {}
    for row in report_data.rows:
        if kernel_of(row.cell) == kernel:
            known = first.get(row.version.commit)
            if known is None or row.taken < known[0]:
                first[row.version.commit] = row.taken, row.version
    own = first.pop(commit, None) if commit else None
    if own and not first:
        return None, own[1]
    dated = all(version.committed > 0 for _, version in first.values())
    ordered = sorted(first.values(), key=lambda pair: (pair[1].committed if dated else 0.0, pair[0]))
    versions = [version for _, version in ordered] + ([own[1]] if own else [])
    return (versions[-2] if len(versions) > 1 else None), versions[-1]


def _sorted_out(judged: Sequence[VerdictRecord], a: Version | None, b: Version) -> dict[str, Rows]:
    """Group the tests of `b` by what changed since `a`; the keys are those that `_kinds` returns."""
    runs: dict[tuple[str, str, str], list[VerdictRecord]] = defaultdict(list)
    for verdict in sorted(judged, key=lambda one: one.taken):
        runs[verdict.test, verdict.cell, verdict.suite].append(verdict)
    found: dict[str, dict[str, tuple[list[str], str]]] = {
        kind: {} for kind in ("broke", "flaky", "fixed", "already", "stale", "compared")
    }
    for (test, cell, _), rows in runs.items():
        for kind, reason in _kinds(rows, a, b):
            found[kind].setdefault(test, ([], reason))[0].append(cell)
    return {kind: dict(sorted(rows.items(), key=lambda row: -len(row[1][0]))) for kind, rows in found.items()}


def _kinds(rows: Sequence[VerdictRecord], a: Version | None, b: Version) -> list[tuple[str, str]]:
    """Return what changed for one test on one cell, each with the reason of a verdict; nothing if `b` has no
    verdict of it.

    `rows` are its verdicts, oldest first.
    """
    telling = [one for one in rows if one.outcome not in INCONCLUSIVE]
    new = [one for one in telling if one.version.commit == b.commit]
    old = [one for one in telling if a and one.version.commit == a.commit]
    reused = {one.version.commit for one in rows if one.outcome == "reused"}
    if not new:  # a reused verdict is an earlier version's, which is a comparison with it
        return [("compared", "")] if a and b.commit in reused else []
    kinds = [("compared", "")] if old or (a and a.commit in reused) else []
    last = new[-1]
    if last.outcome == "passed" and not last.expected:
        return [*kinds, ("stale", "")]
    before = [failed(one) for one in telling if one.version.commit != b.commit]
    flaky = bool(before) and failure_pattern(before).kind is PatternKind.FLAKY
    if failed(last):
        if flaky or any(not failed(one) for one in new):
            return [*kinds, ("flaky", last.reason)]
        return [*kinds, ("already" if old and failed(old[-1]) else "broke", last.reason)]
    return [*kinds, ("fixed", old[-1].reason)] if old and failed(old[-1]) and not flaky else kinds


def _moved(
    report_data: ReportData, kernel: str, b: Version, measured: Mapping[str, set[tuple[str, str, str]]]
) -> list[MetricChange]:
    """The changes of whole metrics at `b`: those for the worse first, then by size.

    `measured` has the (metric, cell, subject) that were measured of each commit.
    """
    found = [
        one for one in report_data.findings
        if one.after.commit == b.commit and kernel_of(one.cell) == kernel and not one.metric.is_part
        and abs(one.change) >= (EXACT_FLOOR if one.metric.exact else FLOOR) and one.confirmed is not False
    ]  # fmt: skip
    of: dict[tuple[str, str, str], int] = defaultdict(int)
    for name, _, subject in measured[b.commit]:
        of[kernel, name, subject] += 1
    return sorted(metric_changes(found, of), key=lambda one: (not one.worse, -abs(one.change)))


def _of_pairs(document: Document) -> list[tuple[str, Judgement]]:
    """The judgements of an A/B test's document, each with its cell; none if the document is of another kind or
    format."""
    try:
        return [(document.cell, Judgement.from_json(row)) for row in document.body["judgements"]]
    except (KeyError, TypeError, ValueError, HarnessError):
        return []
