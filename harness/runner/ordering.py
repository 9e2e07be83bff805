"""In which order tests begin, so that a failure is seen early and several workers are still busy to the end."""

import heapq
from collections.abc import Sequence


def longest_first(seconds: Sequence[float]) -> list[int]:
    """The places of the items, the longest first (Graham 1969): hardly any order ends sooner."""
    return sorted(range(len(seconds)), key=lambda place: -seconds[place])


def telling_first(seconds: Sequence[float], chances: Sequence[float], workers: int) -> list[int]:
    """The places of the items in the order in which they are to begin.

    Those with the greatest chance of a changed verdict for each second come first: on one machine no other order
    sees a change sooner on average (Smith 1956). A long item begins just before it would make the run longer than
    the longest-first order does. `seconds` are expected durations, `chances` need only be comparable.
    """
    end = end_of(longest_first(seconds), seconds, workers)
    by_worth = sorted(range(len(seconds)), key=lambda place: -chances[place] / max(seconds[place], SHORTEST))
    by_length = longest_first(seconds)
    begun: set[int] = set()
    order: list[int] = []
    free = [0.0] * workers
    for _ in seconds:
        now = heapq.heappop(free)
        telling, longest = (next(one for one in places if one not in begun) for places in (by_worth, by_length))
        after = min([now + seconds[telling], *free])
        chosen = longest if after + seconds[longest] > end else telling
        heapq.heappush(free, now + seconds[chosen])
        begun.add(chosen)
        order.append(chosen)
    return order


def side_by_side(seconds: Sequence[float], sleeps: Sequence[bool], cpus: int, workers: int) -> list[int]:
    """The places of items, which are given in the order in which they are to begin, so that always `cpus` of the
    workers have items that compute and the others have some that sleep.

    Each worker takes two neighbours first, and the second when the first has ended, as pytest-xdist hands them
    out: so each begins with one of those that come first.
    """
    busy = min(cpus, workers)
    idle = workers - busy
    computing = [place for place, one in enumerate(sleeps) if not (one and idle)]
    sleeping = [place for place, one in enumerate(sleeps) if one and idle]
    first, beside = _pairs(computing, busy), _pairs(sleeping, idle)
    order = [*first, *beside]
    computed = sum(seconds[place] for place in first) / busy  # by each of the workers
    slept = sum(seconds[place] for place in beside) / max(idle, 1)
    while computing or sleeping:
        if sleeping and (not computing or slept <= computed):
            order.append(sleeping.pop(0))
            slept += seconds[order[-1]] / idle
        else:
            order.append(computing.pop(0))
            computed += seconds[order[-1]] / busy
    return order


def _pairs(places: list[int], workers: int) -> list[int]:
    """Two of the first places for each worker, which are taken from the list: pairs of one of their first half and
    one of their second, the first with the last. None if there are too few."""
    if len(places) < 2 * workers:
        return []
    first, second = places[:workers], places[workers : 2 * workers]
    del places[: 2 * workers]
    return [place for pair in zip(first, reversed(second), strict=True) for place in pair]


SHORTEST = 0.1
"""Seconds: a guest's start and end take as long, whatever it runs."""


def begins(order: Sequence[int], seconds: Sequence[float], workers: int) -> list[float]:
    """When each item begins, by its place, if each worker takes the next item as soon as it is free."""
    free, found = [0.0] * workers, [0.0] * len(seconds)
    for place in order:
        found[place] = heapq.heappop(free)
        heapq.heappush(free, found[place] + seconds[place])
    return found


def end_of(order: Sequence[int], seconds: Sequence[float], workers: int) -> float:
    """When the last item ends."""
    began = begins(order, seconds, workers)
    return max((at + took for at, took in zip(began, seconds, strict=True)), default=0.0)
