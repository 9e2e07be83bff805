"""Makes a schedule simpler while its run fails: what is left are the preemptions that the failure needs."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from harness.core.schedule import Schedule

LONGEST_TURN = 1_000_000
"""Microseconds. A longer turn ends in hardly any test."""


@dataclass(frozen=True, slots=True)
class Shrunk:
    """The simplest schedule that fails, of those that `tried` runs tried."""

    schedule: Schedule
    tried: int


def shrink(schedule: Schedule, fails: Callable[[Schedule], bool], tries: int) -> Shrunk:
    """Try simpler schedules, one after the other, and go on from the first that fails in the same way, which
    `fails` says; at most `tries` runs."""
    seen = {schedule}
    while True:
        for candidate in simpler(schedule):
            if candidate in seen:
                continue
            if len(seen) > tries:
                return Shrunk(schedule, len(seen) - 1)
            seen.add(candidate)
            if fails(candidate):
                schedule = candidate
                break
        else:
            return Shrunk(schedule, len(seen) - 1)


def simpler(schedule: Schedule) -> Iterator[Schedule]:
    """Schedules with one thing less: vCPUs, a turn, the bytes in the environment, half of a turn's preemptions."""
    for cpus in sorted({1, schedule.cpus - 1}):
        if 0 < cpus < schedule.cpus:
            yield replace(schedule, cpus=cpus)
    turns = schedule.turns
    for number in range(len(turns)):
        yield replace(schedule, turns=turns[:number] + turns[number + 1 :])
    if schedule.padding:
        yield replace(schedule, padding=0)
    for number, turn in enumerate(turns):
        if 2 * turn <= LONGEST_TURN:
            yield replace(schedule, turns=tuple(sorted({*turns[:number], 2 * turn, *turns[number + 1 :]})))
