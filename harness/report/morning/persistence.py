"""Decides whether a failing test deserves an issue, and whether an issue may be closed: one night is not enough
for either."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from harness.metrics.history.records import VerdictRecord
from harness.report.morning.nights import Nights, Plan
from harness.report.morning.rates import PatternKind, failure_pattern
from harness.report.morning.tests import INCONCLUSIVE, failed

NIGHTS_TO_OPEN = 2
"""A failure deserves an issue once it was seen in this many nights."""
PASSES_OF_BROKEN = 2
"""A test that failed every time is fixed after this many passes in a row."""
PASSES_OF_FLAKY = 30
"""A flaky test is fixed after this many passes in a row. One that fails 17% of the time passes so often by
chance in 4 of 1,000 cases."""

Where = tuple[str, str]
"""A cell and a test."""


@dataclass(frozen=True, slots=True)
class Persistence:
    """Tests that are not yet certain, by cell and test.

    `fleeting` failed in one night only since they were last well, which may be an accident; or could not be run
    in one night only. `lingering` failed, pass now, and may fail again.
    """

    fleeting: frozenset[Where]
    lingering: frozenset[Where]


def persistence(judged: Iterable[VerdictRecord], plans: Sequence[Plan] = ()) -> Persistence:
    """Find the uncertain tests of a history, which includes tonight's verdicts, and of its plans."""
    rows = sorted(judged, key=lambda one: one.taken)
    nights = Nights(rows, plans)
    runs: dict[Where, list[VerdictRecord]] = defaultdict(list)
    faults: dict[Where, set[int]] = defaultdict(set)
    for verdict in rows:
        if verdict.outcome not in INCONCLUSIVE:
            runs[verdict.cell, verdict.test].append(verdict)
        elif not verdict.expected and verdict.outcome != "skipped":
            faults[verdict.cell, verdict.test].add(nights.number(verdict.taken))
    bad = {where: found for where, found in runs.items() if any(map(failed, found))}
    now = {where: _since_it_was_well(found) for where, found in bad.items()}
    fleeting = {where for where, found in now.items() if _nights(found, nights) < NIGHTS_TO_OPEN}
    fleeting |= {where for where, found in faults.items() if where not in bad and len(found) < NIGHTS_TO_OPEN}
    lingering = {where for where, found in bad.items() if not failed(found[-1]) and not _is_gone(found)}
    return Persistence(frozenset(fleeting), frozenset(lingering - fleeting))


def _nights(found: Iterable[VerdictRecord], nights: Nights) -> int:
    return len({nights.number(one.taken) for one in found if failed(one)})


def _since_it_was_well(found: Sequence[VerdictRecord]) -> Sequence[VerdictRecord]:
    """The runs since the last failure that was fixed; what was fixed once makes no accident of today certain."""
    bad = [place for place, one in enumerate(found) if failed(one)]
    for before, place in reversed([*pairwise(bad)]):
        if _is_gone(found[:place]):
            return found[before + 1 :]
    return found


def _is_gone(found: Sequence[VerdictRecord]) -> bool:
    """Whether the test has passed often enough since its last failure to be fixed; a flaky one needs more
    passes."""
    ways = [failed(one) for one in found]
    passes = ways[::-1].index(True)
    if passes < PASSES_OF_BROKEN:
        return False
    was = failure_pattern(ways[: len(ways) - passes])
    return passes >= (PASSES_OF_BROKEN if was.kind is PatternKind.BROKEN else PASSES_OF_FLAKY)
