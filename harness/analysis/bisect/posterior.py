"""The probability of each commit to be the first with the new level, given the measurements of some commits.

Only the order of the measured points matters: culprits between the same two measured points keep the ratio of
their priors. So the likelihood is computed for the gaps between measured points, a dozen or two, not for each
commit.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr, logsumexp

from harness.analysis.bisect.likelihood import Array, Levels, levels_of, summary
from harness.analysis.bisect.model import Measure, Observations


@dataclass(frozen=True, slots=True)
class MeasuredPoints:
    """What was measured, by point: distinct points in order (P), their sums (P, G, sums), the binaries at each,
    and the family that judges them. The boots of a binary that lies at several points are divided among them."""

    points: NDArray[np.int64]
    sums: Array
    groups: tuple[frozenset[int], ...]
    levels: Levels

    def within(self, first: int, last: int) -> "MeasuredPoints":
        """Only the measured points from the first to the last, which are indices into `points`."""
        span = slice(first, last + 1)
        return MeasuredPoints(self.points[span], self.sums[span], self.groups[span], self.levels)

    def spanned_by_one_binary(self) -> NDArray[np.bool_]:
        """For each gap (P - 1), whether the same binary lies before and after it: no single step can be there."""
        inside = np.zeros(len(self.points) - 1, dtype=bool)
        for group in frozenset().union(*self.groups):
            at = [place for place, groups in enumerate(self.groups) if group in groups]
            inside[at[0] : at[-1]] = True
        return inside


def measured_points(measure: Measure, observations: Sequence[Observations]) -> MeasuredPoints:
    """Sort observations by point; the smallest and the largest point are the ends."""
    summaries = [summary(one.values) for one in observations]
    points = np.unique([one.index for one in observations])
    of_group = {one.group: one_summary for one, one_summary in zip(observations, summaries, strict=True)}
    ends = tuple(
        float(
            np.mean(
                [
                    one_summary.mean
                    for one, one_summary in zip(observations, summaries, strict=True)
                    if one.index == end
                ]
            )
        )
        for end in (points[0], points[-1])
    )
    levels = levels_of(measure, list(of_group.values()), (ends[0], ends[1]))
    times = {group: sum(one.group == group for one in observations) for group in of_group}
    each = levels.sums(summaries)
    sums = np.zeros((len(points), *each.shape[1:]))
    for at, one in enumerate(observations):
        sums[np.searchsorted(points, one.index)] += each[at] / times[one.group]
    groups = tuple(frozenset(one.group for one in observations if one.index == point) for point in points)
    return MeasuredPoints(points, sums, groups, levels)


@dataclass(frozen=True, slots=True)
class Posterior:
    """`mass` (every point of the range) is the probability of each to be the culprit.

    `points` (P) were measured. `by_gap` (P - 1, G) is the probability that the culprit lies between two of them,
    at each point of the grid. `old` and `new` are the levels if it does, as mean and variance, each (P - 1, G).
    """

    mass: Array
    points: NDArray[np.int64]
    by_gap: Array
    old: tuple[Array, Array]
    new: tuple[Array, Array]

    @property
    def gaps(self) -> Array:
        """The probability of each gap."""
        return np.asarray(self.by_gap.sum(axis=1))

    @property
    def noise(self) -> Array:
        """The probability of each point of the grid."""
        return np.asarray(self.by_gap.sum(axis=0))

    def change(self) -> tuple[float, float]:
        """New level minus old level: mean and standard deviation, over gaps and grid."""
        sizes, variances = self.new[0] - self.old[0], self.new[1] + self.old[1]
        mean = float((self.by_gap * sizes).sum())
        return mean, float(np.sqrt((self.by_gap * (variances + (sizes - mean) ** 2)).sum()))

    def levels(self) -> tuple[float, float]:
        """The old level and the new one."""
        return float((self.by_gap * self.old[0]).sum()), float((self.by_gap * self.new[0]).sum())


def posterior(
    found: MeasuredPoints, prior: Array, upwards: bool | None, noise: Array | None = None
) -> Posterior | None:
    """The posterior of one step between the first and the last measured point; None if no step can be there.

    `prior` (points) is the prior probability of each culprit, 0 where it can't be. A step is `upwards`, downwards
    or, None, either. `noise` adds weights of the grid from points outside these, in logarithms.
    """
    gaps = gap_masses(found, prior)
    gaps[found.spanned_by_one_binary()] = 0.0
    if not gaps.any():
        return None
    before = np.cumsum(found.sums, axis=0)[:-1]
    after = found.sums.sum(axis=0) - before
    levels = found.levels
    old, new = levels.level(before), levels.level(after)
    joint = levels.evidence(before) + levels.evidence(after) + levels.grid
    if noise is not None:
        joint = joint + noise
    if upwards is not None:
        # keep only the part of the level on the side where the new one lies
        distance = (new[0] - old[0]) / np.sqrt(np.maximum(new[1] + old[1], 1e-300))
        joint = joint + log_ndtr(distance if upwards else -distance)
    with np.errstate(divide="ignore"):
        joint = joint + np.log(gaps)[:, None]
    share = np.exp(joint - logsumexp(joint))
    by_gap = share.sum(axis=1)
    mass = np.zeros_like(prior)
    for at in np.flatnonzero(gaps):
        span = slice(found.points[at] + 1, found.points[at + 1] + 1)
        mass[span] = prior[span] / gaps[at] * by_gap[at]
    return Posterior(mass, found.points, share, old, new)


def gap_masses(found: MeasuredPoints, prior: Array) -> Array:
    """The prior probability of each gap between measured points (P - 1)."""
    reached = np.cumsum(prior)[found.points]
    return np.asarray(np.diff(reached))
