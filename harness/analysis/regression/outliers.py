"""Isolated outliers of a series: single bad nights, which the search for steps leaves out and findings tell apart.

A point, or a short run of points, is one where it sticks out over the level before it and over the level after it,
so that no step explains it, by more than the series' own noise does: its tail, or its second mode.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.special import ndtri

Array = NDArray[np.float64]
Places = NDArray[np.int64]

LONGEST = 4
"""Points of a run that goes away again; more are a change, which the search for steps finds as two."""
SIDE = 5
"""Points on either side whose median is the level there."""
MOST, SHARE = 3, 0.06
"""No more points than the greater of these are outliers: what comes more often is noise or one of its modes."""
FEWEST = 8
"""Points of a series in which an outlier can be told."""
FAR, FEW = 4.6, 40.0
"""How far an outlier is from the levels beside it, in deviations of the body of the noise; more by this much, over
the points, where they are few. By simulation: of quiet series of 10 to 400 normal points, 1 in 200 has one."""
NEIGHBOUR = 0.6
"""The share of that distance by which it sticks out over the points next to it, too."""
ROUGHLY = 0.8
"""The share of that distance from the running median below which a point is not looked at further."""
LEAST = 1e-9
"""Of the greatest: no less is a deviation, however equal the other points are."""


@dataclass(frozen=True, slots=True)
class Run:
    """Points `first` ≤ index < `end` that stick out by `far` times what is needed; `alone` unless at an end of the
    series, where nobody knows."""

    first: int
    end: int
    far: float
    alone: bool


def outliers(series: Array) -> list[Run]:
    """The isolated outliers, by place. None where there are more than an outlier is rare."""
    if len(series) < FEWEST:
        return []
    most = max(MOST, int(SHARE * len(series)))
    around = series - median_filter(series, 2 * LONGEST + 1, mode="nearest")
    if np.ptp(series) == 0:
        return []
    far = _far(np.abs(around), most, LEAST * float(np.abs(series).max()))
    kept, found = np.ones(len(series), dtype=bool), list[Run]()
    while (best := max(_candidates(series, kept, np.abs(around), far), key=_rank, default=None)) is not None:
        if (~kept).sum() + best.end - best.first > most:
            return [] if best.alone else sorted(found, key=lambda one: one.first)
        found.append(best)
        kept[best.first : best.end] = False
    return sorted(found, key=lambda one: one.first)


def _far(sizes: Array, most: int, least: float) -> float:
    """From what distance a point is an outlier: the body's deviation is told by the greatest that is none."""
    count = len(sizes)
    most = min(most, count // 4)
    body = float(np.sort(sizes)[count - 1 - most]) / float(ndtri(1 - (most + 0.5) / (2 * count)))
    return max((FAR + FEW / count) * body, least)


def _rank(one: Run) -> tuple[bool, int, float]:
    """Those inside first, which are certain; short ones, which a longer one would only contain; the farthest."""
    return one.alone, one.first - one.end, one.far


def _candidates(series: Array, kept: NDArray[np.bool_], sizes: Array, far: float) -> Iterator[Run]:
    """Runs inside the series whose points are all far from the running median, and those at its ends."""
    out = kept & (sizes > ROUGHLY * far)
    for length in range(1, min(LONGEST + 1, len(series))):
        inside = np.flatnonzero(np.convolve(out, np.ones(length), mode="valid") == length)
        starts = {int(at) for at in inside}
        if abs(series[0] - series[length]) > NEIGHBOUR * far:
            starts.add(0)
        if abs(series[-1] - series[-1 - length]) > NEIGHBOUR * far:
            starts.add(len(series) - length)
        for first in sorted(starts):
            if kept[first : first + length].all() and (run := _run(series, kept, first, first + length, far)):
                yield run


def _run(series: Array, kept: NDArray[np.bool_], first: int, end: int, far: float) -> Run | None:
    """The run, where it sticks out over both sides; at an end of the series, over the one that there is."""
    before, after = _beside(kept, first, end)
    sides = [side for side in (before, after) if len(side)]
    at_an_end = len(sides) == 1
    if at_an_end and not kept[end if first == 0 else first - 1]:
        return None  # it goes on: what is beside it sticks out as well
    if any(len(side) < min(SIDE, 3) for side in sides[: 1 if at_an_end else 0]) or not sides:
        return None
    levels = [float(np.median(series[side])) for side in sides]
    if at_an_end:
        levels.append(_further(series, kept, first, end))
    nearest = [float(series[side[-1 if side is before else 0]]) for side in sides]
    # At an end a run is no new level that goes on rising: it sticks out over the last point before it as far.
    beside = far if at_an_end else NEIGHBOUR * far
    for sign in (1.0, -1.0):
        lowest = float((sign * series[first:end]).min())
        out = lowest - max(sign * level for level in levels)
        if out > far and lowest - max(sign * one for one in nearest) > beside:
            return Run(first, end, out / far, not at_an_end)
    return None


def _further(series: Array, kept: NDArray[np.bool_], first: int, end: int) -> float:
    """The level at an end of the series, if it goes on as it came: at the ends of a slope no point sticks out."""
    inside = np.flatnonzero(kept[:first])[::-1] if first else np.flatnonzero(kept[end:]) + end
    near, before = inside[:SIDE], inside[SIDE : 2 * SIDE]
    if not len(before):
        return float(np.median(series[near]))
    middle, slope = np.median(series[near]), np.median(series[near]) - np.median(series[before])
    far = abs((first + end - 1) / 2 - near.mean()) / abs(near.mean() - before.mean())
    return float(middle + far * slope)


def _beside(kept: NDArray[np.bool_], first: int, end: int) -> tuple[Places, Places]:
    """The nearest points on either side that are no outliers themselves."""
    before = np.flatnonzero(kept[:first])[-SIDE:]
    after = np.flatnonzero(kept[end:])[:SIDE] + end
    return before, after
