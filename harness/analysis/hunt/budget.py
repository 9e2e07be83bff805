"""Spends a night's budget of runs where a failure is likeliest for each second."""

from collections.abc import Mapping

from harness.runner.ordering import SHORTEST

HISTORY = 20
"""After so many schedules that passed a test's chance is half of what its history says: plain runs and seeded ones
differ."""
TYPICAL = 1.0
"""Seconds of a test of which none are known."""


def worthiest_first(
    chances: Mapping[str, float], seconds: Mapping[str, float], count: int
) -> list[tuple[str, int]]:
    """`count` schedules of each test, as the test and the schedule's place (from 0) among the test's own, the
    greatest chance of a failure for each second first.

    `chances` are those of a test's next run to fail, `seconds` its expected duration. The order holds until a run
    fails, for all before it passed.
    """
    rows = []
    for test, chance in chances.items():
        worth = chance / max(seconds.get(test, TYPICAL), SHORTEST)
        rows += [(-worth * HISTORY / (HISTORY + place), place, test) for place in range(count)]
    return [(test, place) for _, place, test in sorted(rows)]
