"""Writes the comment on a pull request, from the data of its run, by the harness of the default branch.

Everything from the run is data: Markdown that it wrote is not read, and its records are checked and escaped like
any others. So the job that may write runs no code of the pull request and shows none of its markup.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from harness.analysis.ab.sequential_test import Decision, Judgement
from harness.core.errors import HarnessError
from harness.integrations.ci.cross_check import Difference, differences
from harness.integrations.ci.results import Night
from harness.metrics.history.jsonl import records_in
from harness.metrics.history.records import VerdictRecord
from harness.metrics.records import Document, Sample, Version
from harness.report.markdown import markdown
from harness.report.model.data import ReportData

MARK = "<!-- osv-harness pull-request -->"
"""Identifies the comment, together with its author, so that it is updated in place."""

TESTED, COMPARED, BASE, HEAD = "tested-*.jsonl", "compared.jsonl", "compared-base.jsonl", "compared-head.jsonl"


def comment(folder: Path, night: Night, before: Sequence[VerdictRecord], head: str, link: str = "") -> str:
    """The text of the comment. `folder` holds what the run of the commit `head` left, `before` what other runs
    left.

    Raises `HarnessError` if the folder has a record that can't be read.
    """
    judged = [_for_commit(one, head) for one in _records(folder, TESTED) if isinstance(one, VerdictRecord)]
    known = [one for one in before if one.version.commit != head]
    documents = [_for_commit(one, head) for one in _records(folder, COMPARED) if isinstance(one, Document)]
    samples = [[one for one in _records(folder, name) if isinstance(one, Sample)] for name in (BASE, HEAD)]
    documents += _exact(samples[0], samples[1], head)
    silent = [row.cell for row in night.without_result()]
    report = ReportData([], [*known, *judged], documents)
    return f"{MARK}\n{markdown(report, head, silent, link)}"


Row = TypeVar("Row", VerdictRecord, Document)


def _for_commit(one: Row, head: str) -> Row:
    """The record, attributed to the pull request's commit: what ran is a merge of it that has no name anybody
    knows."""
    return replace(one, version=replace(one.version, commit=head, described=head[:12]))


def _records(folder: Path, name: str) -> Iterator[object]:
    for path in sorted(folder.rglob(name)):
        try:
            with path.open("rb") as stream:
                yield from records_in(stream)
        except OSError as error:
            raise HarnessError(f"{path} can't be read: {error.strerror}.", "Gather the results again.") from error


def _exact(base: Sequence[Sample], head: Sequence[Sample], commit: str) -> Iterable[Document]:
    """The exact numbers that two harnesses measured of one kernel, as a comparison by one pair."""
    if not (base and head):
        return
    count, found = differences(base, head)
    by_cell: dict[str, list[Difference]] = {cell: [] for cell in sorted({one.cell for one in head})}
    for one in found:
        by_cell[one.cell].append(one)
    same = [one.metric for one in head if one.metric.exact][: max(0, count - len(found))]
    rows = [Judgement(metric, Decision.UNCHANGED, 0.0, (0.0, 0.0), 1.0, 1, None) for metric in dict.fromkeys(same)]
    for cell, apart in by_cell.items():
        judgements = [_judged(one) for one in apart] + rows
        body = {"judgements": [one.to_json() for one in judgements]}
        yield Document("comparison", cell, "", body, Version(commit, "", commit[:12]), "", head[0].taken)


def _judged(one: Difference) -> Judgement:
    change = (one.b - one.a) / one.a if one.a else one.b - one.a
    return Judgement(one.metric, Decision.CHANGED, change, (change, change), 0.0, 1, None, relative=bool(one.a))
