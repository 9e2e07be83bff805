"""The rules by which an earlier verdict stands: pure functions of what the history knows."""

import hashlib
from collections.abc import Sequence
from itertools import pairwise
from operator import attrgetter

from harness.metrics.history.records import VerdictRecord
from harness.report.morning.rates import PatternKind, failure_pattern
from harness.report.morning.tests import INCONCLUSIVE, failed
from harness.runner.verdict import Outcome

CLEAR = (Outcome.PASSED, Outcome.FAILED, Outcome.CRASHED, Outcome.GUEST_ENDED)
"""Outcomes that a program and its kernel reached by themselves. No limit, no host and no retry decided them."""

LEAST_CHANCE, FADING, CHANCE_OF_THE_SAME = 0.02, 0.95, 0.05
"""The chance of a test that never changed; what a change counts for after one more run; and the factor for what
ran before. They only order tests."""

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


def chance_of_change(recent: Sequence[VerdictRecord], is_new: bool) -> float:
    """How likely the verdict of a test is to change, compared with other tests: the more often and the more lately
    it did. `is_new` is whether what would run never ran before."""
    ordered = sorted((one for one in recent if one.outcome not in INCONCLUSIVE), key=attrgetter("taken"))
    bad = [failed(one) or one.outcome == Outcome.FLAKY for one in reversed(ordered)]
    changes = sum(FADING**age for age, (now, before) in enumerate(pairwise(bad)) if now is not before)
    return (LEAST_CHANCE + changes) * (1.0 if is_new else CHANCE_OF_THE_SAME)


def is_drawn(run: str, cell: str, test: str, share: float) -> bool:
    """Whether the run checks the rule on this test: the same answer whoever asks, and `share` of all tests."""
    drawn = hashlib.sha256(f"{run} {cell} {test}".encode()).digest()
    return int.from_bytes(drawn[:8]) < share * 2**64
