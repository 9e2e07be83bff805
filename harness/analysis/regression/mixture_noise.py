"""The evidence for a step at each place of a series whose noise has two modes, or outliers: independent draws
from two normal distributions."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from harness.analysis.regression.ar1_noise import Evidence

Array = NDArray[np.float64]

SURPRISE = 3.3
"""The evidence that one quiet series in a hundred with two modes exceeds: 200 points, by simulation."""
STEPS = np.linspace(-4, 4, 65)
"""The sizes of steps that are tried, in standard deviations of the series."""
PRIOR = -((STEPS / 3) ** 2) / 2 - logsumexp(-((STEPS / 3) ** 2) / 2)
"""The log of the prior probability of each of these steps."""
GREAT = 4.0
"""A step of more standard deviations of what is left without it is great: no two modes here are so far apart."""
ROOT = np.sqrt(2 * np.pi)
"""The constant by which a normal density is divided, besides its deviation."""
FURTHEST = 700.0
"""The greatest exponent of a ratio; e to a greater one overflows."""
SETTLED = 1e-5
"""A fit is done if its means move by less than this in one round, in standard deviations of the series."""
LEVELLING = 5
"""Rounds in which segments are levelled and modes are fitted in turn."""
NARROWEST = 0.05
"""The least standard deviation of a mode, in that of the series. Equal values would otherwise make a mode
infinitely likely."""


@dataclass(frozen=True, slots=True)
class Modes:
    """Two normal distributions, or two for each of many series, as rows: shares, means, standard deviations."""

    shares: Array
    means: Array
    deviations: Array

    def logs(self, values: Array) -> Array:
        """The log density at each value."""
        return _sum_of_logs(*self.each(values))

    def fitted(self, values: Array, floor: float | Array, rounds: int) -> "Modes":
        """After so many rounds of expectation and maximisation (Dempster, Laird and Rubin 1977).

        Of many series each has its own `floor`, and none takes part in a round after its fit is done.
        """
        many, floors = np.atleast_2d(values), np.reshape(floor, (-1, 1))
        now = _Rows(*map(np.atleast_2d, (self.shares, self.means, self.deviations)))
        done = _Rows(*map(np.copy, now))
        powers = np.stack([np.ones(many.shape), many, many**2], axis=1)
        total, rows = powers.sum(axis=2), np.arange(len(many))
        for _ in range(rounds):
            before, now = now.means, _round(many, powers, total, floors, now)
            for kept, one in zip(done, now, strict=True):
                kept[rows] = one
            moving = np.abs(now.means - before).max(axis=1) >= SETTLED
            if not moving.any():
                break
            if not moving.all():
                many, powers, total, floors, rows = (one[moving] for one in (many, powers, total, floors, rows))
                now = _Rows(*(one[moving] for one in now))
        return Modes(*(one.reshape(self.shares.shape) for one in done))

    def of(self, rows: int | NDArray[np.bool_]) -> "Modes":
        """Those of one of the series, or of some."""
        return Modes(self.shares[rows], self.means[rows], self.deviations[rows])

    def each(self, values: Array) -> tuple[Array, Array]:
        """The log density of either mode at each value."""
        return _logs(values, self.shares, self.means, self.deviations)


class _Rows(NamedTuple):
    """Shares, means and deviations of two modes for each of many series."""

    shares: Array
    means: Array
    deviations: Array


def _round(many: Array, powers: Array, total: Array, floors: Array, modes: _Rows) -> _Rows:
    """One round of a fit. `powers` are the series' values to the powers 0 to 2, and `total` the sums of these."""
    first, second = _logs(many, *modes)
    # 1 / (1 + exp(second - first)), without an array for each step.
    of = np.subtract(second, first, out=first)
    np.exp(np.minimum(of, FURTHEST, out=of), out=of)
    of += 1
    ones = (powers @ np.divide(1, of, out=of)[:, :, None])[:, :, 0]
    sums = np.stack([ones, total - ones], axis=1)
    counts = np.maximum(sums[:, :, 0], 0) + 1e-9
    means = sums[:, :, 1] / counts
    spread = np.maximum(sums[:, :, 2] / counts - means**2, 0)
    return _Rows(counts / counts.sum(axis=1, keepdims=True), means, np.sqrt(spread + floors**2))


def _logs(values: Array, shares: Array, means: Array, deviations: Array) -> tuple[Array, Array]:
    """The log density of either mode at each value; of many series, each with its own modes."""
    weights, found = np.log(shares / deviations / ROOT), []
    for mode in range(2):
        scaled = values - means[..., mode, None]
        scaled /= deviations[..., mode, None]
        np.square(scaled, out=scaled)
        scaled /= 2
        found.append(np.subtract(weights[..., mode, None], scaled, out=scaled))
    return found[0], found[1]


def evidence(many: Array, places: tuple[int, int], missing: tuple[int, ...] = ()) -> Evidence:
    """For and against a step at each place, as in `ar1_noise`, with BIC's price of five numbers for the modes.

    Each of the series, rows of one length, has a standard deviation of about 1 without the points that are missing
    in all of them. The modes are fitted first without a step; then again to the series with the likeliest step
    taken out; and, lest they take the two sides of a great step for two modes, to the series without the step that
    explains most of it.
    """
    there = np.ones(many.shape[1], dtype=bool)
    there[list(missing)] = False
    real, places_of, times = _without(many, there), np.arange(*places), np.arange(many.shape[1])
    quiet, deviations = _fitted(real), real.std(axis=1)[:, None]
    found = _over_steps(many, there, quiet, STEPS * deviations, places_of)
    stepped, modes, rows = found.evidence.copy(), quiet, np.arange(len(many))
    for _ in range(2):
        after = times >= places_of[found.places, None]
        left = _without(many[rows] - STEPS[found.steps, None] * deviations[rows] * after, there)
        modes = modes.fitted(left, NARROWEST * deviations[rows], 15)
        found = _over_steps(many[rows], there, modes, STEPS * deviations[rows], places_of)
        better = ~(found.evidence.max(axis=1) <= stepped[rows].max(axis=1))
        if not better.any():
            break
        rows, modes, found = rows[better], modes.of(better), found.of(better)
        stepped[rows] = np.maximum(stepped[rows], found.evidence)
    begins, sizes = _greatest(many, there, places_of)
    left = _without(many - sizes * (times >= begins), there)
    great = np.abs(sizes[:, 0]) > GREAT * left.std(axis=1)
    if great.any():
        around = sizes[great] + STEPS * _widths(left[great])
        found = _over_steps(many[great], there, _fitted(left[great]), around, places_of)
        stepped[great] = np.maximum(stepped[great], found.evidence)
    price = 2.5 * np.log(real.shape[1])
    return Evidence(quiet.logs(real).sum(axis=1)[:, None] - price, stepped[:, None, :] - price)


def levelled(series: Array, there: NDArray[np.bool_], steps: Sequence[int]) -> Array:
    """Shift each segment of a series, whose `steps` were removed by least squares, to where the two modes fit
    best.

    If a segment has one mode more often by chance, its mean is off by part of the modes' distance. The rest would
    look like a further step.
    """
    modes, left = _fitted(series[there][None]).of(0), series
    edges = [0, *sorted(steps), len(series)]
    for _ in range(LEVELLING):
        levels = np.zeros(len(series))
        for start, end in pairwise(edges):
            segment = left[start:end][there[start:end]]
            each = np.stack(modes.each(segment))
            of = np.exp(each - each.max(axis=0))
            weights = of / of.sum(axis=0) / modes.deviations[:, None] ** 2
            levels[start:end] = (weights * (segment - modes.means[:, None])).sum() / weights.sum()
        left = left - levels * there
        modes = modes.fitted(left[there], NARROWEST * _widths(left[there][None]), 5)
    return left


def _without(many: Array, there: NDArray[np.bool_]) -> Array:
    """The points that are there."""
    return many if there.all() else np.ascontiguousarray(many[:, there])


def _fitted(many: Array) -> Modes:
    """The likelier of two fits to each series."""
    floors = NARROWEST * _widths(many)
    apart, core = (start.fitted(many, floors, 40) for start in _starts(many, floors))
    better = (core.logs(many).sum(axis=1) > apart.logs(many).sum(axis=1))[:, None]
    return Modes(
        np.where(better, core.shares, apart.shares),
        np.where(better, core.means, apart.means),
        np.where(better, core.deviations, apart.deviations),
    )


def _widths(many: Array) -> Array:
    """The standard deviation of each series, or the least one, as a column."""
    return np.asarray(np.maximum(many.std(axis=1), NARROWEST))[:, None]


def _greatest(many: Array, there: NDArray[np.bool_], places: NDArray[np.int64]) -> tuple[NDArray[np.int64], Array]:
    """The step that explains most of each series by least squares: its place and size, as columns."""
    sums, counts = np.cumsum(many * there, axis=1), np.cumsum(there)
    before = np.maximum(counts[places - 1], 1)
    after = np.maximum(counts[-1] - before, 1)
    until = sums[:, places - 1]
    sizes = (sums[:, -1:] - until) / after - until / before
    best = (sizes**2 * before * after).argmax(axis=1)[:, None]
    return places[best], np.take_along_axis(sizes, best, axis=1)


def _sum_of_logs(first: Array, second: Array) -> Array:
    """`np.logaddexp`, in operations that processors do for several numbers at once; overwrites the arrays."""
    apart = np.subtract(first, second)
    np.negative(np.abs(apart, out=apart), out=apart)
    np.exp(apart, out=apart)
    apart += 1
    np.log(apart, out=apart)
    return np.asarray(np.add(np.maximum(first, second, out=first), apart, out=first))


def _starts(many: Array, floors: Array) -> tuple[Modes, Modes]:
    """Of each series the cut in two that leaves the least variance, and a core with outliers."""
    length = many.shape[1]
    ordered, counts = np.sort(many, axis=1), np.arange(1, length)
    excess = ordered.sum(axis=1)[:, None] * counts / length - np.cumsum(ordered, axis=1)[:, :-1]
    gain = excess**2 / (counts * (length - counts))
    cuts = gain[:, 1:-1].argmax(axis=1) + 2
    sides = [(one[:cut], one[cut:]) for one, cut in zip(ordered, cuts, strict=True)]
    apart = Modes(
        np.array([[len(low), len(high)] for low, high in sides]) / length,
        np.array([[low.mean(), high.mean()] for low, high in sides]),
        np.array([[low.std(), high.std()] for low, high in sides]) + floors,
    )
    middle = np.repeat(np.median(many, axis=1)[:, None], 2, axis=1)
    shares = np.repeat([[0.85, 0.15]], len(many), axis=0)
    return apart, Modes(shares, middle, np.array([0.6, 2.0]) * _widths(many))


class _Steps(NamedTuple):
    """Of each series the log likelihood, averaged over steps of all sizes, by place; the place and the size of the
    likeliest step, as numbers."""

    evidence: Array
    places: NDArray[np.int64]
    steps: NDArray[np.int64]

    def of(self, rows: NDArray[np.bool_]) -> "_Steps":
        """Those of some series."""
        return _Steps(self.evidence[rows], self.places[rows], self.steps[rows])


def _over_steps(
    many: Array, there: NDArray[np.bool_], modes: Modes, steps: Array, places: NDArray[np.int64]
) -> _Steps:
    """With each series' own modes and sizes of steps; series by series, whose arrays are large enough."""
    evidence, best = np.empty((len(many), len(places))), []
    for row, series in enumerate(many):
        profile = _profile(series, there, modes.of(row), steps[row], places)
        best.append(np.unravel_index(int(profile.argmax()), profile.shape))
        most = profile.max(axis=1)
        profile -= most[:, None]
        evidence[row] = most + np.log(np.exp(profile, out=profile).sum(axis=1))
    return _Steps(evidence, *np.array(best).T)


def _profile(
    series: Array, there: NDArray[np.bool_], modes: Modes, steps: Array, places: NDArray[np.int64]
) -> Array:
    """Log likelihood plus log prior, a row for each place and a column for each step. `steps` are close to
    `STEPS`."""
    before = modes.logs(series) * there
    gains = modes.logs(series[:, None] - steps)
    if not there.all():
        gains *= there[:, None]
    gains -= before[:, None]
    np.cumsum(gains[::-1], axis=0, out=gains[::-1])
    found = gains[places[0] : places[-1] + 1]
    found += before.sum()
    found += PRIOR
    return found
