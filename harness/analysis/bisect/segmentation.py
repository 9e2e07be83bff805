"""How many levels the measured points have: one, two, three, or two that alternate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
from scipy.special import logsumexp

from harness.analysis.bisect.likelihood import Array
from harness.analysis.bisect.posterior import MeasuredPoints, gap_masses

PRIOR = {"none": 0.03, "one": 0.9, "two": 0.05, "back": 0.02}
"""The prior probability of each shape: no step, one, two, and a step that was undone and came back."""
MOST = 14
"""Only the so many gaps with the largest jumps between neighbours can be one of several steps."""


@dataclass(frozen=True, slots=True)
class Segmentation:
    """`shapes` is the probability of each shape; `cuts` are the gaps at which the likeliest shape with several
    steps cuts the measured points."""

    shapes: dict[str, float]
    cuts: tuple[int, ...]

    @property
    def several(self) -> float:
        """The probability that there is more than one step."""
        return self.shapes["two"] + self.shapes["back"]


def segment(found: MeasuredPoints, prior: Array) -> Segmentation:
    """Judge all ways to cut the measured points."""
    gaps = gap_masses(found, prior)
    for at, (left, right) in enumerate(pairwise(found.groups)):
        if left & right:
            gaps[at] = 0.0
    gaps = gaps / gaps.sum() if gaps.any() else gaps
    reach = np.concatenate([np.zeros((1, *found.sums.shape[1:])), np.cumsum(found.sums, axis=0)])
    one_inside = np.where(found.spanned_by_one_binary(), 0.0, gaps)
    usable = [at for at in range(len(gaps)) if gaps[at] > 0]
    jumps = _jumps(found)
    jumping = sorted(sorted(usable, key=lambda at: -jumps[at])[:MOST])
    ways: dict[str, list[tuple[int, ...]]] = {
        "none": [()],
        "one": [(at,) for at in usable if one_inside[at] > 0],
        "two": list(combinations(jumping, 2)),
        "back": list(combinations(jumping, 3)),
    }
    weighed = {shape: _joint(shape, cuts, found, gaps, reach) for shape, cuts in ways.items() if cuts}
    total = {shape: float(logsumexp(joint)) + np.log(PRIOR[shape]) for shape, joint in weighed.items()}
    everything = logsumexp(list(total.values()))
    shapes = {shape: float(np.exp(total[shape] - everything)) if shape in total else 0.0 for shape in PRIOR}
    many = [shape for shape in ("two", "back") if shape in total]
    if not many:
        return Segmentation(shapes, ())
    shape = max(many, key=lambda name: total[name])
    best = int(logsumexp(weighed[shape], axis=1).argmax())
    return Segmentation(shapes, ways[shape][best])


def _jumps(found: MeasuredPoints) -> Array:
    """The distance between neighbours (P - 1), in standard deviations, at the grid point where it is largest."""
    mean, variance = found.levels.level(found.sums)
    return np.asarray((np.diff(mean, axis=0) ** 2 / (variance[1:] + variance[:-1])).max(axis=1))


def _joint(shape: str, cuts: Sequence[tuple[int, ...]], found: MeasuredPoints, gaps: Array, reach: Array) -> Array:
    """The log of prior times likelihood of each way to cut, (ways, G)."""
    at = np.array(cuts, dtype=int).reshape(len(cuts), -1)
    edges = [reach[0], *(reach[column + 1] for column in at.T), reach[-1]]
    parts = [after - before for before, after in pairwise(edges)]
    if shape == "back":
        parts = [parts[0] + parts[2], parts[1] + parts[3]]
    evidence: Callable[[Array], Array] = found.levels.evidence
    joint = sum((evidence(part) for part in parts), found.levels.grid)
    # each level beyond the first pays for the span in which it could have been
    joint = np.atleast_2d(joint - (len(parts) - 1) * found.levels.width)
    ways = np.prod(gaps[at], axis=1) * {"none": 1, "one": 1, "two": 2, "back": 6}[shape]
    return np.asarray(joint + np.log(ways)[:, None])


@dataclass(frozen=True, slots=True)
class Segment:
    """The measured points on both sides of one step, and what the others reveal about the noise (G,
    logarithms)."""

    found: MeasuredPoints
    noise: Array


def segments_at(found: MeasuredPoints, cuts: Sequence[int]) -> list[Segment]:
    """One segment for each cut, from the cut before it to the one after it."""
    edges = [-1, *cuts, len(found.points) - 1]
    levels = [found.levels.evidence(found.sums[low + 1 : high + 1].sum(axis=0)) for low, high in pairwise(edges)]
    return [
        Segment(
            found.within(edges[at] + 1, edges[at + 2]),
            sum(
                (one for run, one in enumerate(levels) if run not in (at, at + 1)),
                np.zeros_like(found.levels.grid),
            ),
        )
        for at in range(len(cuts))
    ]
