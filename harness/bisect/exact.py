"""The search for steps in a number without noise: any two measured points with different numbers have one between.

The greatest difference is followed first, and what is left of the whole afterwards is followed too as long as it
matters; so several steps, and one that went away again, are found as such.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from harness.bisect.levels import Array
from harness.bisect.state import State

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
    values = {one.index: one.values[0] for one in state.readings()}
    points = sorted(values)
    whole = abs(values[points[-1]] - values[points[0]])
    suspects = np.array(state.line.suspects(), dtype=float)
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
