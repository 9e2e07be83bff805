"""Finds the isolated outliers of a series: single bad nights, which the search for steps leaves out.

A point, or a short run of points, is an outlier if it differs from the level before it and from the level after
it, so that no step explains it, by more than the noise of the series does, be it by its tail or by its second
mode.
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
"""The most points of an outlier. A longer run that goes away again is a change, which the search finds as two
steps."""
SIDE = 5
"""The points on either side whose median is the level there."""
MOST, SHARE = 3, 0.06
"""At most `MOST` points, or the share `SHARE` of them if that is more, are outliers. What comes more often is
noise, or a mode of it."""
FEWEST = 8
"""The fewest points of a series in which outliers are looked for."""
FAR, FEW = 4.6, 40.0
"""The least distance of an outlier from the levels beside it, in deviations of the body of the noise: `FAR`,
plus `FEW` divided by the number of points. By simulation, 1 in 200 quiet series of 10 to 400 normal points has
an outlier."""
NEIGHBOUR = 0.6
"""An outlier is at least this share of that distance from the points next to it, too."""
ROUGHLY = 0.8
"""Points nearer to the running median than this share of that distance are not examined."""
LEAST = 1e-9
"""The deviation of the noise is at least this share of the greatest value, however equal the other points are."""


@dataclass(frozen=True, slots=True)
class Run:
    """An outlier: the points `first` ≤ index < `end`, `far` times as far away as needed. `alone` is False at an
    end of the series, where nobody knows yet."""

    first: int
    end: int
    far: float
    alone: bool


def outliers(series: Array) -> list[Run]:
    """The isolated outliers, by place; none if there are too many of them to be outliers."""
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
    """The distance from which a point is an outlier. The deviation of the noise is estimated from the greatest
    distance among the other points."""
    count = len(sizes)
    most = min(most, count // 4)
    body = float(np.sort(sizes)[count - 1 - most]) / float(ndtri(1 - (most + 0.5) / (2 * count)))
    return max((FAR + FEW / count) * body, least)


def _rank(one: Run) -> tuple[bool, int, float]:
    """The order in which runs are taken: those inside the series, which are certain; then short ones, which a
    longer one would only contain; then the farthest."""
    return one.alone, one.first - one.end, one.far


def _candidates(series: Array, kept: NDArray[np.bool_], sizes: Array, far: float) -> Iterator[Run]:
    """The runs inside the series whose points are all far from the running median, and the runs at its ends."""
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
    """The run, if it is far from the levels on both sides (at an end of the series, from the only one); else
    None."""
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
    """The level to expect at an end of the series, if it goes on as before. So no point at the end of a slope
    is an outlier."""
    inside = np.flatnonzero(kept[:first])[::-1] if first else np.flatnonzero(kept[end:]) + end
    near, before = inside[:SIDE], inside[SIDE : 2 * SIDE]
    if not len(before):
        return float(np.median(series[near]))
    middle, slope = np.median(series[near]), np.median(series[near]) - np.median(series[before])
    far = abs((first + end - 1) / 2 - near.mean()) / abs(near.mean() - before.mean())
    return float(middle + far * slope)


def _beside(kept: NDArray[np.bool_], first: int, end: int) -> tuple[Places, Places]:
    """The nearest points on either side that are no outliers."""
    before = np.flatnonzero(kept[:first])[-SIDE:]
    after = np.flatnonzero(kept[end:])[:SIDE] + end
    return before, after
