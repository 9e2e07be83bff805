"""Reduces a long series to fewer points. Every step keeps its place and its size."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True, slots=True)
class Point:
    """The numbers of one version, or of several from it on: their median, their range, and how many they are."""

    version: int
    value: float
    low: float
    high: float
    count: int


def thinned(points: Sequence[Point], most: int, steps: Collection[int] = ()) -> list[Point]:
    """Reduce the points, oldest first, to about `most` at most, from the first version to the last.

    A point that stands for several has their median and their whole range. No point stands for versions on both
    sides of a step (whose first version is one of `steps`), and the ends of constant stretches are kept.
    """
    if len(points) <= most:
        return list(points)
    flat = _without_middles(points)
    if len(flat) <= most:
        return flat
    size = -(-len(points) // max(1, most - 1))
    parts: list[list[Point]] = [[]]
    for point in points[:-1]:
        if len(parts[-1]) >= size or (point.version in steps and parts[-1]):
            parts.append([])
        parts[-1].append(point)
    return [*map(merged_point, parts), points[-1]]


def _without_middles(points: Sequence[Point]) -> list[Point]:
    """The points without those that equal both neighbours."""
    alike = [(one.value, one.low, one.high) for one in points]
    last = len(points) - 1
    return [
        point for place, point in enumerate(points)
        if place in (0, last) or not alike[place - 1] == alike[place] == alike[place + 1]
    ]  # fmt: skip


def merged_point(points: Sequence[Point]) -> Point:
    """Merge the points of neighbouring versions into one, at the first version."""
    if len(points) == 1:
        return points[0]
    return Point(
        points[0].version, median(one.value for one in points), min(one.low for one in points),
        max(one.high for one in points), sum(one.count for one in points),
    )  # fmt: skip
