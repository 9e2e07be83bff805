"""The evidence for a step at each place of a series whose noise has two modes, or outliers: independent draws
from two normal distributions."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

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
    """Two normal distributions: their shares, means and standard deviations, two values each."""

    shares: Array
    means: Array
    deviations: Array

    def logs(self, values: Array) -> Array:
        """The log density at each value."""
        first, second = self._each(values.ravel())
        return np.asarray(_sum_of_logs(first, second)).reshape(values.shape)

    def fitted(self, values: Array, floor: float, rounds: int) -> "Modes":
        """The modes after at most so many rounds of expectation and maximisation (Dempster, Laird and Rubin
        1977)."""
        shares, means, deviations = self.shares, self.means, self.deviations
        powers = np.array([np.ones(len(values)), values, values**2])
        total = powers.sum(axis=1)
        for _ in range(rounds):
            each = _logs(values, shares, means, deviations)
            # 1 / (1 + exp(second - first)), without an array for each step.
            of = np.subtract(each[1], each[0], out=each[0])
            np.exp(np.minimum(of, FURTHEST, out=of), out=of)
            of += 1
            ones = powers @ np.divide(1, of, out=of)
            sums = np.array([ones, total - ones])
            counts = np.maximum(sums[:, 0], 0) + 1e-9
            before, means = means, sums[:, 1] / counts
            spread = np.maximum(sums[:, 2] / counts - means**2, 0)
            shares, deviations = counts / counts.sum(), np.sqrt(spread + floor**2)
            if np.abs(means - before).max() < SETTLED:
                break
        return Modes(shares, means, deviations)

    def _each(self, values: Array) -> Array:
        return _logs(values, self.shares, self.means, self.deviations)


def _logs(values: Array, shares: Array, means: Array, deviations: Array) -> Array:
    """The log density of each mode at each value."""
    scaled = values - means[:, None]
    scaled /= deviations[:, None]
    np.square(scaled, out=scaled)
    scaled /= 2
    weights = np.log(shares / deviations / ROOT)
    return np.asarray(np.subtract(weights[:, None], scaled, out=scaled))


def evidence(series: Array, places: tuple[int, int], missing: tuple[int, ...] = ()) -> Evidence:
    """The evidence for a step at each place, as `ar1_noise.evidence`, less BIC's price of the five parameters of
    the modes.

    The series, without the `missing` points, has a standard deviation of about 1. The modes are fitted three
    times: to the series; to the series without its likeliest step; and to the series without the step that
    explains most of it, lest they take the two sides of a great step for two modes.
    """
    there = np.ones(len(series), dtype=bool)
    there[list(missing)] = False
    real, places_of = series[there], np.arange(*places)
    quiet, deviation = _fitted(real), float(real.std())
    with_steps = _profile(series, there, quiet, STEPS * deviation, places_of)
    modes, stepped = quiet, _over_steps(with_steps)
    for _ in range(2):
        place, step = np.unravel_index(int(with_steps.argmax()), with_steps.shape)
        after = np.arange(len(series)) >= places_of[place]
        left = (series - STEPS[step] * deviation * after)[there]
        modes = modes.fitted(left, NARROWEST * deviation, 15)
        with_steps = _profile(series, there, modes, STEPS * deviation, places_of)
        again = _over_steps(with_steps)
        if again.max() <= stepped.max():
            break
        stepped = np.maximum(stepped, again)
    begins, size = _greatest(series, there, places_of)
    left = (series - size * (np.arange(len(series)) >= begins))[there]
    if abs(size) > GREAT * float(left.std()):
        around = size + STEPS * _width(left)
        stepped = np.maximum(stepped, _over_steps(_profile(series, there, _fitted(left), around, places_of)))
    price = 2.5 * np.log(len(real))
    return Evidence(np.array([float(quiet.logs(real).sum()) - price]), stepped[None, :] - price)


def levelled(series: Array, there: NDArray[np.bool_], steps: Sequence[int]) -> Array:
    """Shift each segment of a series, whose `steps` were removed by least squares, to where the two modes fit
    best.

    If a segment has one mode more often by chance, its mean is off by part of the modes' distance. The rest would
    look like a further step.
    """
    modes, left = _fitted(series[there]), series
    edges = [0, *sorted(steps), len(series)]
    for _ in range(LEVELLING):
        levels = np.zeros(len(series))
        for start, end in pairwise(edges):
            segment = left[start:end][there[start:end]]
            each = modes._each(segment)
            of = np.exp(each - each.max(axis=0))
            weights = of / of.sum(axis=0) / modes.deviations[:, None] ** 2
            levels[start:end] = (weights * (segment - modes.means[:, None])).sum() / weights.sum()
        left = left - levels * there
        modes = modes.fitted(left[there], NARROWEST * _width(left[there]), 5)
    return left


def _fitted(series: Array) -> Modes:
    return max(_starts(series, NARROWEST * _width(series)), key=lambda start: float(start.logs(series).sum()))


def _width(series: Array) -> float:
    return max(float(series.std()), NARROWEST)


def _greatest(series: Array, there: NDArray[np.bool_], places: NDArray[np.int64]) -> tuple[int, float]:
    """The step that explains most of the series by least squares: its place and its size."""
    sums, counts = np.cumsum(series * there), np.cumsum(there)
    before = np.maximum(counts[places - 1], 1)
    after = np.maximum(counts[-1] - before, 1)
    sizes = (sums[-1] - sums[places - 1]) / after - sums[places - 1] / before
    best = int((sizes**2 * before * after).argmax())
    return int(places[best]), float(sizes[best])


def _over_steps(with_steps: Array) -> Array:
    most = with_steps.max(axis=1)
    return np.asarray(most + np.log(np.exp(with_steps - most[:, None]).sum(axis=1)))


def _sum_of_logs(first: Array, second: Array) -> Array:
    """As `np.logaddexp`, by operations that processors vectorise."""
    return np.asarray(np.maximum(first, second) + np.log(1 + np.exp(-np.abs(first - second))))


def _starts(series: Array, floor: float) -> Iterator[Modes]:
    """Starting points of the fit: the cut in two that leaves the least variance, and a core with outliers."""
    ordered = np.sort(series)
    counts = np.arange(1, len(series))
    excess = ordered.sum() * counts / len(series) - np.cumsum(ordered)[:-1]
    gain = excess**2 / (counts * (len(series) - counts))
    cut = int(gain[1:-1].argmax()) + 2
    low, high = ordered[:cut], ordered[cut:]
    shares = np.array([len(low), len(high)]) / len(series)
    apart = Modes(shares, np.array([low.mean(), high.mean()]), np.array([low.std(), high.std()]) + floor)
    yield apart.fitted(series, floor, 40)
    middle = np.full(2, np.median(series))
    core = Modes(np.array([0.85, 0.15]), middle, np.array([0.6, 2.0]) * _width(series))
    yield core.fitted(series, floor, 40)


def _profile(
    series: Array, there: NDArray[np.bool_], modes: Modes, steps: Array, places: NDArray[np.int64]
) -> Array:
    """Log likelihood plus log prior, a row for each place and a column for each step. `steps` are close to
    `STEPS`."""
    before = modes.logs(series) * there
    after = modes.logs(series[:, None] - steps) * there[:, None]
    gains = np.cumsum((after - before[:, None])[::-1], axis=0)[::-1]
    return np.asarray(before.sum() + gains[places] + PRIOR)
