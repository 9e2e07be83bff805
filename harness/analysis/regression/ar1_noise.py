"""Normal noise that remembers and drifts: how much likelier a series is with a step at each place than without."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular
from scipy.special import gammaln

Array = NDArray[np.float64]

STEPS = {3.0: 0.9, 300.0: 0.1}
"""How great steps are expected to be: deviations of normal priors, in deviations of the noise, with shares."""
CORRELATIONS = (0.0, 0.2, 0.4, 0.6, 0.8)
"""Of neighbours, in the AR(1) part."""
DRIFTS = {0.0: 0.55, 0.0015: 0.15, 0.006: 0.15, 0.025: 0.15}
"""Variances of a random walk's increments against the noise's, and how likely each is beforehand."""
SURPRISE = (
    (2.7, 4.4, 6.0, 7.0),
    (3.4, 4.8, 6.4, 7.0),
    (3.8, 4.8, 6.5, 7.2),
    (4.4, 5.1, 6.7, 7.6),
    (5.1, 6.2, 7.3, 7.7),
)
"""The evidence that one quiet series in a hundred has, of 200 points with each correlation (rows) and drift, by
500 simulated series each. What the noise does is learnt from the series itself, worse the more it remembers."""


@dataclass(frozen=True, slots=True)
class Whitening:
    """One kind of noise for series of one length: what makes it white and takes its mean out; that and its
    transpose together; and the squared sizes of steps after both, that begin at each place."""

    whiten: Array
    both: Array
    squares: Array
    constant: float


@dataclass(frozen=True, slots=True)
class Evidence:
    """Log likelihoods, averaged over what is not known: `quiet` of each kind of noise without a (further) step,
    series by kinds of noise; `stepped` with one, series by kinds of noise by places."""

    quiet: Array
    stepped: Array


@lru_cache(maxsize=8)
def whitenings(length: int, places: tuple[int, int]) -> tuple[Whitening, ...]:
    """Each kind of noise for series so long, with steps that begin at first ≤ place < end."""
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
    many: Array, places: tuple[int, int], known: tuple[int, ...] = (), missing: tuple[int, ...] = ()
) -> Evidence:
    """For and against a step at each place, beside the steps already known, without the points that are missing.

    `many` are series of one length, as rows; each gets what it gets alone, to the last bit. With known steps or
    missing points there is only one. The mean, the noise's size and the known steps have flat priors and a new
    step a normal one; all are averaged over in closed form (Zellner 1971); so the noise's own correlation and
    drift weigh as much as they are likely. A missing point has a flat prior, too, which is the same as if it had
    not been measured.
    """
    freedom = (many.shape[1] - 1 - len(known) - len(missing)) / 2
    # flat priors are taken to be about as wide as one measurement tells, as in BIC
    common = gammaln(freedom) - freedom * np.log(np.pi) - np.log(np.sqrt(32) * np.pi)
    columns, quiet, stepped = _columns(many.shape[1], known, missing), [], []
    for noise in whitenings(many.shape[1], places):
        weighed, squares, constant = _times(noise.both, many), noise.squares, noise.constant
        along = _from_each(weighed, places)
        size = _dot(many, weighed)
        if known or missing:
            others = noise.both @ columns
            root = cholesky(columns.T @ others, lower=True)
            explained = solve_triangular(root, others.T @ many[0], lower=True)
            steps = solve_triangular(root, _from_each(others.T, places), lower=True)
            along, squares = along - explained @ steps, squares - (steps**2).sum(axis=0)
            size -= float(explained @ explained)
            constant -= float(np.log(np.diag(root)).sum())
        size, squares = np.maximum(size, 0.0) + 1e-12, np.maximum(squares, 1e-12)
        quiet.append(common + constant - freedom * np.log(size))
        stepped.append(common + constant + _averaged(along**2, squares, size[:, None], freedom))
    return Evidence(np.stack(quiet, axis=1), np.stack(stepped, axis=1))


def _times(matrix: Array, many: Array) -> Array:
    """The matrix times each row. Row by row: a product of two matrices would add in another order."""
    return np.asarray((matrix @ many[:, :, None])[:, :, 0])


def _dot(first: Array, second: Array) -> Array:
    """Each row's product with the other's."""
    return np.asarray((first[:, None, :] @ second[:, :, None])[:, 0, 0])


def _averaged(explained: Array, squares: Array, size: Array, freedom: float) -> Array:
    """Log likelihood of steps of these squared sizes that explain so much of the sum of squares `size`."""
    logs = []
    for width, share in STEPS.items():
        room = 1 + width**2 * squares
        left = np.maximum(size - width**2 * explained / room, 1e-12 * size)
        logs.append(np.log(share) - freedom * np.log(left) - np.log(room) / 2)
    most = np.maximum(*logs)
    return np.asarray(most + np.log(np.exp(logs - most).sum(axis=0)))


def _columns(length: int, steps: tuple[int, ...], missing: tuple[int, ...]) -> Array:
    """What is fitted beside the mean: a column for each step, and one for each missing point alone."""
    times = np.arange(length)
    return np.column_stack(
        [np.empty((length, 0)), *(times >= step for step in steps), *(times == point for point in missing)]
    )


def _from_each(rows: Array, places: tuple[int, int]) -> Array:
    """The sums from each place on: a step is all points from there."""
    return np.cumsum(rows[..., ::-1], axis=-1)[..., ::-1][..., slice(*places)]


def sizes(
    series: Array, places: tuple[int, int], steps: tuple[int, ...], missing: tuple[int, ...] = ()
) -> tuple[Array, Array]:
    """Each of these steps' size and its standard error, by least squares in the likeliest kinds of noise."""
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
