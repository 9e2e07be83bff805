"""The most that any detector can find: the likelihood ratio (Neyman and Pearson 1933), told all of the noise."""

from collections.abc import Callable

import numpy as np
from scipy.linalg import cho_solve, cholesky, toeplitz  # type: ignore[import-untyped]
from scipy.special import logsumexp  # type: ignore[import-untyped]

from benchmarks.judgement import series

FALSE = 0.01
PLACES = np.arange(series.AFTER, series.BEGINS + 1)
Ratios = Callable[[series.Array], series.Array]


def bound(kind: str, count: int) -> tuple[float, float]:
    """The share of steps found at 1% false alarms, told the noise, the level and the step's size: told the place,
    too, which bounds every detector, and not told it (all places as likely as each other)."""
    if kind == "bimodal":
        ratios = _of_modes((0.8, 0.2), (-0.8, 3.2), np.sqrt(3.56))
    elif kind == "even modes":
        ratios = _of_modes((0.5, 0.5), (-2.0, 2.0), np.sqrt(5))
    else:
        ratios = _normal(_covariance(kind))
    dice = np.random.default_rng([series.SEED, 9, list(series.ALL).index(kind)])
    quiet = np.array([_statistics(ratios(series.ALL[kind](dice, series.LENGTH))) for _ in range(count)])
    stepped = np.array(
        [
            _statistics(ratios(series.ALL[kind](dice, series.LENGTH) + series.levels(dice, True)))
            for _ in range(count)
        ]
    )
    told, untold = (stepped > np.quantile(quiet, 1 - FALSE, axis=0)).mean(axis=0)
    return float(told), float(untold)


def _statistics(ratios: series.Array) -> tuple[float, float]:
    both_ways = logsumexp(ratios, axis=0)
    return float(both_ways[PLACES == series.BEGINS][0]), float(logsumexp(both_ways))


def _covariance(kind: str) -> series.Array:
    times = np.arange(series.LENGTH)
    if kind == "AR(1) 0.5":
        return np.asarray(toeplitz(0.5**times))
    if kind == "drifting":
        return np.eye(series.LENGTH) + (np.minimum(times[:, None], times) + 1) / series.LENGTH
    if kind == "slow sine":  # of random phase: as if normal with the same covariance, which is nearly the truth
        return np.eye(series.LENGTH) + np.asarray(toeplitz(np.cos(2 * np.pi * times / series.LENGTH))) / 2
    return np.eye(series.LENGTH)


def _normal(covariance: series.Array) -> Ratios:
    steps = (np.arange(series.LENGTH)[:, None] >= PLACES) * series.STEP
    solved = cho_solve((cholesky(covariance, lower=True), True), steps)
    price = (steps * solved).sum(axis=0) / 2

    def ratios(values: series.Array) -> series.Array:
        gain = solved.T @ values
        return np.array([gain - price, -gain - price])

    return ratios


def _of_modes(shares: tuple[float, float], means: tuple[float, float], sigma: float) -> Ratios:
    """For two modes of inner sigma 1 whose standard deviation together is `sigma`."""

    def logs(values: series.Array) -> series.Array:
        pairs = zip(shares, means, strict=True)
        return np.asarray(
            logsumexp([np.log(share) - (values * sigma - mean) ** 2 / 2 for share, mean in pairs], axis=0)
        )

    def ratios(values: series.Array) -> series.Array:
        gains = (logs(values - step) - logs(values) for step in (series.STEP, -series.STEP))
        return np.array([np.cumsum(gain[::-1])[::-1][PLACES] for gain in gains])

    return ratios
