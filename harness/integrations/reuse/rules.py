"""The rules by which an earlier verdict stands: pure functions of what the history knows."""

import hashlib
from collections.abc import Sequence
from operator import attrgetter

from harness.metrics.history.records import VerdictRecord
from harness.report.morning.rates import PatternKind, failure_pattern
from harness.report.morning.tests import INCONCLUSIVE, failed
from harness.runner.verdict import Outcome

CLEAR = (Outcome.PASSED, Outcome.FAILED, Outcome.CRASHED, Outcome.GUEST_ENDED)
"""Outcomes that a program and its kernel reached by themselves. No limit, no host and no retry decided them."""

GOOD_SINCE = 2
"""Runs that must have been good since the last unexpected failure."""


def standing_verdict(same: Sequence[VerdictRecord], recent: Sequence[VerdictRecord]) -> VerdictRecord | None:
    """The verdict that stands for a test, or None if it must run.

    `same` are the verdicts with the key of what would run, `recent` the latest of the test on its cell. Whether
    the outcome is expected today is for the caller to ask.
    """
    conclusive = [one for one in same if one.outcome not in INCONCLUSIVE]
    outcomes = {one.outcome for one in conclusive}
    if len(outcomes) != 1 or outcomes.isdisjoint(CLEAR):
        return None
    return None if is_unsteady(recent) else max(conclusive, key=attrgetter("taken"))


def is_unsteady(recent: Sequence[VerdictRecord]) -> bool:
    """Whether the latest runs of a test on one cell show that it is flaky, broken, or only just mended."""
    ordered = sorted((one for one in recent if one.outcome not in INCONCLUSIVE), key=attrgetter("taken"))
    bad = [failed(one) or one.outcome == Outcome.FLAKY for one in ordered]
    if True not in bad:
        return False
    return any(bad[-GOOD_SINCE:]) or failure_pattern(bad).kind is not PatternKind.WELL


def is_drawn(run: str, cell: str, test: str, share: float) -> bool:
    """Whether the run checks the rule on this test: the same answer whoever asks, and `share` of all tests."""
    drawn = hashlib.sha256(f"{run} {cell} {test}".encode()).digest()
    return int.from_bytes(drawn[:8]) < share * 2**64
