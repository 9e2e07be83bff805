"""How soon a failure is seen, by the order of tests: real durations, simulated failures and workers."""

import random
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from harness.integrations.reuse.rules import LEAST_CHANCE
from harness.runner.ordering import begins, end_of, longest_first, telling_first
from harness.runner.session import Session

FAILURES_BEFORE = 12
"""Changes of verdicts that the history knows when the next one comes."""

Order = Callable[[Sequence[float], Sequence[float], int], list[int]]


def _chance_then_longest(seconds: Sequence[float], chances: Sequence[float], _workers: int) -> list[int]:
    return sorted(range(len(seconds)), key=lambda place: (-chances[place], -seconds[place]))


ORDERS: Mapping[str, Order] = {
    "longest first": lambda seconds, _chances, _workers: longest_first(seconds),
    "chance, then longest": _chance_then_longest,
    "chance a second, long ones in time": telling_first,
}


def ordering(session: Session, name: str, rounds: int) -> None:
    """Print a table. `rounds` failures are planted for each number of workers and kind of failure.

    A failure is of any test alike, or of some tests far more often than of others (by Zipf's law), as the history
    then knows. A row has medians: the failing test's place, the seconds until its failure is seen, and those of
    the whole run.
    """
    cell = session.cell(name)
    known = session.expected_seconds(cell)
    seconds = [known.get(program.name, 1.0) for program in session.programs(cell)]
    print(f"{cell}: {len(seconds)} tests, {sum(seconds):.0f} s in all, the longest {max(seconds):.0f} s")
    print("| workers | failures | order | place | seen after s | the run s |\n|---|---|---|---|---|---|")
    for workers in (1, 2, 4, 8):
        for kind in ("any test", "some tests"):
            seen = _simulated(seconds, workers, kind, rounds)
            for order, rows in seen.items():
                place, after, end = (median(column) for column in zip(*rows, strict=True))
                print(f"| {workers} | {kind} | {order} | {place:.0f} | {after:.0f} | {end:.0f} |")


def _simulated(
    seconds: Sequence[float], workers: int, kind: str, rounds: int
) -> dict[str, list[tuple[float, float, float]]]:
    rng = random.Random(f"{workers} {kind}")
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ORDERS}
    for _ in range(rounds):
        weights = [1.0 if kind == "any test" else 1 / (rank + 1) for rank in range(len(seconds))]
        rng.shuffle(weights)
        chances = [LEAST_CHANCE] * len(seconds)
        for place in rng.choices(range(len(seconds)), weights, k=FAILURES_BEFORE):
            chances[place] += 1
        (failing,) = rng.choices(range(len(seconds)), weights)
        for name, order in ORDERS.items():
            places = order(seconds, chances, workers)
            seen = begins(places, seconds, workers)[failing] + seconds[failing]
            found[name].append((places.index(failing) + 1, seen, end_of(places, seconds, workers)))
    return found
