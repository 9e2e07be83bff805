"""Whether a test's failure is worth an issue, and whether it is surely gone: one night says neither."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.metrics.history.records import VerdictRecord
from harness.report.morning.nights import Nights
from harness.report.morning.rates import PatternKind, failure_pattern
from harness.report.morning.tests import INCONCLUSIVE, failed

NIGHTS_TO_OPEN = 2
"""Nights with a failure, from which it is worth an issue."""
PASSES_OF_BROKEN = 2
"""Passes in a row, after which what failed every time is gone."""
PASSES_OF_FLAKY = 30
"""The same of what failed now and then: at 17% so many come by chance 4 times in 1,000."""

Where = tuple[str, str]
"""A cell and a test."""


@dataclass(frozen=True, slots=True)
class Persistence:
    """By cell and test: those that failed on one night alone, which may be an accident; and those that failed, and
    pass now, and may fail again."""

    fleeting: frozenset[Where]
    lingering: frozenset[Where]


def persistence(judged: Iterable[VerdictRecord]) -> Persistence:
    """What the history says, tonight's verdicts in it."""
    rows = sorted(judged, key=lambda one: one.taken)
    nights = Nights(rows)
    runs: dict[Where, list[VerdictRecord]] = defaultdict(list)
    for one in rows:
        if one.outcome not in INCONCLUSIVE:
            runs[one.cell, one.test].append(one)
    bad = {where: found for where, found in runs.items() if any(map(failed, found))}
    fleeting = {where for where, found in bad.items() if _nights(found, nights) < NIGHTS_TO_OPEN}
    lingering = {where for where, found in bad.items() if not failed(found[-1]) and not _is_gone(found)}
    return Persistence(frozenset(fleeting), frozenset(lingering - fleeting))


def _nights(found: Sequence[VerdictRecord], nights: Nights) -> int:
    return len({nights.number(one.taken) for one in found if failed(one)})


def _is_gone(found: Sequence[VerdictRecord]) -> bool:
    """Whether it passes for so long as what it was wants."""
    ways = [failed(one) for one in found]
    passes = ways[::-1].index(True)
    was = failure_pattern(ways[: len(ways) - passes])
    return passes >= (PASSES_OF_BROKEN if was.kind is PatternKind.BROKEN else PASSES_OF_FLAKY)
