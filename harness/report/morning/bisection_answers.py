"""What bisections found: the commits that changed a metric, or that broke a test."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harness.analysis.bisect.answer import BisectOutcome
from harness.analysis.bisect.model import Kind
from harness.metrics.records import Document

BISECT = "bisect"
"""The kind of a bisection's document."""
WITHIN = 14 * 86400.0
"""Seconds for which the answer of a bisection is shown."""


@dataclass(frozen=True, slots=True)
class BisectionAnswer:
    """The commit that a bisection between the commits `good` and `bad` found, and the probability that it is this
    one.

    - `name` is that of the metric or, with `of_test`, of the test; it was measured on `cell`.
    - `change` is relative to the old level; that of a test is the change of its rate of failure.
    - `more` counts further commits that could not be told from this one.
    - `taken` is in seconds since 1970.
    """

    commit: str
    name: str
    cell: str
    of_test: bool
    change: float
    probability: float
    more: int
    good: str
    bad: str
    taken: float


def bisection_answers(documents: Iterable[Document], now: float) -> list[BisectionAnswer]:
    """What bisections found in the `WITHIN` before `now`, in seconds since 1970.

    Those that found nothing, or whose answer a check refuted, blame no commit and are left out. Skips documents of
    another format.
    """
    found: list[BisectionAnswer] = []
    for document in documents:
        if document.kind != BISECT or document.taken < now - WITHIN:
            continue
        try:
            if document.body["answer"]["outcome"] == BisectOutcome.FOUND:
                found += [_answer(document, culprit) for culprit in document.body["answer"]["culprits"]]
        except (KeyError, TypeError, ValueError, IndexError):
            continue
    return found


def _answer(document: Document, culprit: Mapping[str, Any]) -> BisectionAnswer:
    old, of_test = float(culprit["old_level"]), document.body["measure"]["kind"] == Kind.TEST
    change = float(culprit["change"]) / (old if old and not of_test else 1.0)
    good, bad, *_ = document.body["range"]
    commits = culprit["commits"]
    return BisectionAnswer(
        str(commits[0]), document.subject, document.cell, of_test, change, float(culprit["probability"]),
        len(commits) - 1, str(good), str(bad), document.taken,
    )  # fmt: skip
