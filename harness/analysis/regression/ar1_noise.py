"""The evidence for a step at each place of a series with normal noise that is correlated from point to point
and drifts."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.special import gammaln

Array = NDArray[np.float64]

STEPS = {3.0: 0.9, 300.0: 0.1}
"""The prior of a step's size: a mixture of normal distributions, each by its deviation (in deviations of the
noise) and its share."""
CORRELATIONS = (0.0, 0.2, 0.4, 0.6, 0.8)
"""The correlations of neighbours that are tried, in the AR(1) part of the noise."""
DRIFTS = {0.0: 0.55, 0.0015: 0.15, 0.006: 0.15, 0.025: 0.15}
"""The variances of a random walk's increments that are tried, as shares of the noise's variance, each with its
prior probability."""
SURPRISE = (
    (2.7, 4.4, 6.0, 7.0),
    (3.4, 4.8, 6.4, 7.0),
    (3.8, 4.8, 6.5, 7.2),
    (4.4, 5.1, 6.7, 7.6),
    (5.1, 6.2, 7.3, 7.7),
)
"""The evidence that one quiet series in a hundred exceeds: series of 200 points, with each correlation (rows)
and each drift (columns), by 500 simulated series each. The noise is estimated from the series itself, which
works less well the more correlated it is."""


@dataclass(frozen=True, slots=True)
class Whitening:
    """One kind of noise, prepared for series of one length: the matrix that makes it white and removes its
    mean, that matrix multiplied by its own transpose, and the squared sizes of steps that begin at each place,
    after both."""

    whiten: Array
    both: Array
    squares: Array
    constant: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """Log likelihoods, averaged over the unknown parameters.

    `quiet` has one value for each kind of noise, without a (further) step. `stepped` has a row for each kind of
    noise and a column for each place, with a step there.
    """

    quiet: Array
    stepped: Array


@lru_cache(maxsize=8)
def whitenings(length: int, places: tuple[int, int]) -> tuple[Whitening, ...]:
    """Prepare each kind of noise for series of this length, with steps that begin at first ≤ place < end."""
    times = np.arange(length)
    lags, shared = np.abs(times[:, None] - times), np.minimum(times[:, None], times)
    columns = np.column_stack([np.ones(length), np.eye(length), times[:, None] >= np.arange(*places)])
    made = []
    for correlation in CORRELATIONS:
        for drift, prior in DRIFTS.items():
            remembered = correlation**lags if correlation else np.eye(length)
            root = cholesky(remembered + drift * shared, lower=True)
            white = solve_triangular(root, columns, lower=True)
            size = float(np.linalg.norm(white[:, 0]))
            mean, others = white[:, 0] / size, white[:, 1:]
            others = others - np.outer(mean, mean @ others)
            whiten, steps = others[:, :length].copy(), others[:, length:]
            constant = float(np.log(prior / len(CORRELATIONS) / size) - np.log(np.diag(root)).sum())
            made.append(Whitening(whiten, whiten.T @ whiten, (steps**2).sum(axis=0), constant))
    return tuple(made)


def evidence(
    series: Array, places: tuple[int, int], known: tuple[int, ...] = (), missing: tuple[int, ...] = ()
) -> Evidence:
    """The evidence for a step at each place, given the steps already `known`, without the `missing` points.

    The mean, the noise's size and the known steps have flat priors, a new step has a normal one; all are
    integrated out in closed form (Zellner 1971). So each correlation and drift of the noise counts by how likely
    it is. A missing point has a flat prior, too, which is the same as if it had not been measured.
    """
    freedom = (len(series) - 1 - len(known) - len(missing)) / 2
    # flat priors are taken to be about as wide as one measurement tells, as in BIC
    common = gammaln(freedom) - freedom * np.log(np.pi) - np.log(np.sqrt(32) * np.pi)
    columns, quiet, stepped = _columns(len(series), known, missing), [], []
    for noise in whitenings(len(series), places):
        weighed, squares, constant = noise.both @ series, noise.squares, noise.constant
        along = _from_each(weighed, places)
        size = float(series @ weighed)
        if known or missing:
            others = noise.both @ columns
            root = cholesky(columns.T @ others, lower=True)
            explained = solve_triangular(root, others.T @ series, lower=True)
            steps = solve_triangular(root, _from_each(others.T, places), lower=True)
            along, squares = along - explained @ steps, squares - (steps**2).sum(axis=0)
            size -= float(explained @ explained)
            constant -= float(np.log(np.diag(root)).sum())
        size, squares = max(size, 0.0) + 1e-12, np.maximum(squares, 1e-12)
        explained = along**2
        quiet.append(common + constant - freedom * np.log(size))
        stepped.append(common + constant + _averaged(explained, squares, size, freedom))
    return Evidence(np.array(quiet), np.array(stepped))


def _averaged(explained: Array, squares: Array, size: float, freedom: float) -> Array:
    """The log likelihood of steps of these squared sizes that explain so much of `size`, the sum of squares."""
    logs = []
    for width, share in STEPS.items():
        room = 1 + width**2 * squares
        left = np.maximum(size - width**2 * explained / room, 1e-12 * size)
        logs.append(np.log(share) - freedom * np.log(left) - np.log(room) / 2)
    most = np.maximum(*logs)
    return np.asarray(most + np.log(np.exp(logs - most).sum(axis=0)))


def _columns(length: int, steps: tuple[int, ...], missing: tuple[int, ...]) -> Array:
    """The columns fitted beside the mean: one for each step, and one for each missing point."""
    times = np.arange(length)
    return np.column_stack(
        [np.empty((length, 0)), *(times >= step for step in steps), *(times == point for point in missing)]
    )


def _from_each(rows: Array, places: tuple[int, int]) -> Array:
    """The sums of all points from each place on: a step changes all points from its place on."""
    return np.cumsum(rows[..., ::-1], axis=-1)[..., ::-1][..., slice(*places)]


def sizes(
    series: Array, places: tuple[int, int], steps: tuple[int, ...], missing: tuple[int, ...] = ()
) -> tuple[Array, Array]:
    """The size of each of these steps and its standard error, by least squares in the likeliest kinds of noise."""
    logs, means, errors = [], [], []
    columns = _columns(len(series), steps, missing)
    freedom = max(1, len(series) - 1 - columns.shape[1])
    for noise in whitenings(len(series), places):
        weighed = noise.both @ np.column_stack([series, columns])
        inverse = np.linalg.inv(columns.T @ weighed[:, 1:])
        along = columns.T @ weighed[:, 0]
        mean = inverse @ along
        left = max(float(series @ weighed[:, 0] - along @ mean), 0.0) + 1e-12
        means.append(mean[: len(steps)])
        errors.append(np.sqrt(np.diag(inverse) * left / freedom)[: len(steps)])
        logs.append(noise.constant + np.linalg.slogdet(inverse)[1] / 2 - freedom / 2 * np.log(left))
    weights = np.exp(np.array(logs) - max(logs))
    weights /= weights.sum()
    mean = weights @ np.array(means)
    spread = weights @ (np.array(errors) ** 2 + (np.array(means) - mean) ** 2)
    return mean, np.sqrt(spread)
