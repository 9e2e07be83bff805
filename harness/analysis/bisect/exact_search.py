"""The search for steps in a number without noise: any two measured points with different numbers have one between.

The greatest difference is followed first, and what is left of the whole afterwards is followed too as long as it
matters; so several steps, and one that went away again, are found as such.
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
"""Boots of a build after which the number that none of them repeats is not exact."""
MATTERS = 0.1
"""A difference of less than this share of the whole is not followed."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Two measured points next to each other, their numbers, and where the step between them can be (points)."""

    first: int
    last: int
    old: float
    new: float
    mass: Array

    @property
    def change(self) -> float:
        return self.new - self.old


def gaps(state: State) -> list[Gap]:
    """Those whose difference matters, the greatest first."""
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
    """The measured points whose number is neither of their neighbours': a step on both sides, or a boot that its
    host spoiled."""
    rows = [(one.index, mode(one.values)) for one in state.observations()]
    return [
        at
        for (_, before), (at, value), (_, after) in zip(rows, rows[1:], rows[2:], strict=False)
        if value not in (before, after)
    ]


def repeat_plan(state: State, points: Iterable[int]) -> Plan | None:
    """One boot more of each of these points of which no two gave the same number; None where there is none.

    Raises `HarnessError` where even several boots of one did not.
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
