"""Describes the documents of a history for the page: A/B tests and bisections as tables, others as JSON text.
Loads have figures instead."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from harness.analysis.ab.sequential_test import Decision, Judgement
from harness.metrics.records import CONSOLE, Better, Document
from harness.report.html.bisections import BisectionSummary, bisected
from harness.report.model.data import ReportData
from harness.report.model.formatting import moment, percent, shown
from harness.report.model.spans import PLAN
from harness.report.reuse_lines import REUSE

MOST_RECORDS = 100
LONGEST_TEXT = 20_000
"""Characters of one document that is shown as text."""


@dataclass(frozen=True, slots=True)
class Compared:
    """The result of an A/B test for one metric, as text. `standing` is `good`, `bad` or empty."""

    metric: str
    change: str
    interval: str
    pairs: int
    words: str
    standing: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """A document: `judgements` if it is an A/B test, `bisected` if it is a bisection, else its `text`."""

    title: str
    about: str
    cell: str
    judgements: Sequence[Compared] = ()
    bisected: BisectionSummary | None = None
    text: str = ""


def records(report_data: ReportData) -> list[Record]:
    """The latest documents, the newest first, without loads, plans, consoles and counts of reused verdicts."""
    others = [one for one in report_data.documents if one.kind not in ("load", PLAN, CONSOLE, REUSE)]
    others.sort(key=lambda one: -one.taken)
    return [_record(document) for document in others[:MOST_RECORDS]]


def _record(document: Document) -> Record:
    title = f"{document.kind}: {document.subject}"
    about = f"{document.cell}, {moment(document.taken)}"
    try:
        if document.kind == "bisect":
            return Record(title, about, document.cell, bisected=bisected(document.body))
        judgements = [_compared(Judgement.from_json(row)) for row in document.body["judgements"]]
        return Record(title, about, document.cell, judgements)
    # Another kind of document, or one of another version of this harness, can lack anything.
    except Exception:
        text = json.dumps(document.body, indent=1, ensure_ascii=False)
        return Record(title, about, document.cell, text=text[:LONGEST_TEXT])


def _compared(judgement: Judgement) -> Compared:
    def change(value: float | None) -> str:
        if value is None:
            return ""
        return percent(value) if judgement.relative else shown(value, judgement.metric.unit)

    interval = " … ".join(change(end) for end in judgement.interval) if judgement.interval else ""
    words, standing = _decided(judgement)
    shown_interval = "exact" if judgement.metric.exact else interval
    return Compared(
        judgement.metric.name, change(judgement.change), shown_interval, judgement.pairs, words, standing
    )


def _decided(judgement: Judgement) -> tuple[str, str]:
    """The decision in words, and whether it is `good` or `bad`; empty if it is neither."""
    if judgement.decision is Decision.CHANGED and judgement.change is not None:
        worse = (judgement.change > 0) == (judgement.metric.better == Better.LOWER)
        return ("▲ worse", "bad") if worse else ("▽ better", "good")
    return ("no change", "") if judgement.decision is Decision.UNCHANGED else ("no change seen", "")
