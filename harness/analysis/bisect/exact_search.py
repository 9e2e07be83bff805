"""Searches for steps in a number without noise: a step lies between any two measured points with different
numbers.

The largest difference is followed first. What remains of the total is followed too while it matters, so several
steps, and one that was undone later, are found as such.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from statistics import mode

import numpy as np

from harness.analysis.bisect.likelihood import Array
from harness.analysis.bisect.model import Build, Plan
from harness.analysis.bisect.state import State
from harness.core.errors import HarnessError

MOST_REPEATS = 5
"""A number that no boot repeats in so many boots of a build is not exact."""
MATTERS = 0.1
"""A difference below this share of the total is not followed."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Two neighbouring measured points, their numbers, and the probability of each point to be the step
    (`mass`)."""

    first: int
    last: int
    old: float
    new: float
    mass: Array

    @property
    def change(self) -> float:
        return self.new - self.old


def gaps(state: State) -> list[Gap]:
    """The gaps whose difference matters, largest first."""
    values = {one.index: mode(one.values) for one in state.observations()}
    points = sorted(values)
    whole = abs(values[points[-1]] - values[points[0]])
    suspects = np.array(state.range.suspects(), dtype=float)
    found = []
    for first, last in pairwise(points):
        change = abs(values[last] - values[first])
        if change == 0 or change < MATTERS * whole:
            continue
        mass = np.zeros_like(suspects)
        mass[first + 1 : last + 1] = suspects[first + 1 : last + 1]
        if mass.any():
            found.append(Gap(first, last, values[first], values[last], mass / mass.sum()))
    return sorted(found, key=lambda gap: -abs(gap.change))


def isolated_points(state: State) -> list[int]:
    """The measured points whose number equals neither neighbour's: a step on both sides, or a boot that the host
    disturbed."""
    rows = [(one.index, mode(one.values)) for one in state.observations()]
    return [
        at
        for (_, before), (at, value), (_, after) in zip(rows, rows[1:], rows[2:], strict=False)
        if value not in (before, after)
    ]


def repeat_plan(state: State, points: Iterable[int]) -> Plan | None:
    """One more boot of each of these points that has no two equal numbers; None if there is no such point.

    Raises `HarnessError` if `MOST_REPEATS` boots of one build all differ.
    """
    wanted: dict[Build, int] = {}
    for key in (Build(state.range.first_alike(at)) for at in points):
        values = state.numbers(key)
        if values and values.count(mode(values)) < 2:
            wanted[key] = len(values) + 1
            if len(values) >= MOST_REPEATS:
                raise HarnessError(
                    f"{state.measure.name} is called exact, but {len(values)} boots of one build all differ.",
                    "Something in the guest or its host is left to chance: bisect it as a noisy number.",
                )
    return Plan("again", (), tuple(wanted.items())) if wanted else None
