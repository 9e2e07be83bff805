"""How many bits a measurement is expected to reveal about the culprit.

The result is predicted under each hypothesis (the culprit lies in this gap, before or after the measured point).
The expected bits are the mutual information of hypothesis and result (Lindley 1956).
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy
from scipy.stats import binom

from harness.analysis.bisect.likelihood import Array, Levels, Normal
from harness.analysis.bisect.posterior import Posterior

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(11)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
NEGLIGIBLE = 1e-3
"""Less likely hypotheses are left out."""


class Channel(Protocol):
    """Predicts what measurements would reveal, from the current posterior."""

    def bits(self, index: Array, before: Array, mean: Array, more: Array) -> Array:
        """Expected bits (A, L) of `more` boots (L) of builds (A) at the points `index`, each with `before` boots
        of a `mean`. A build without boots is a new one, with a layout of its own."""


def entropy(chance: Array) -> Array:
    """The entropy in bits of a yes or no with this probability of yes."""
    return np.asarray(-(xlogy(chance, chance) + xlogy(1 - chance, 1 - chance)) / np.log(2))


class NoiselessChannel:
    """Numbers without noise: the first boot reveals everything. `after` is the probability of each point to have
    the new level."""

    def __init__(self, after: Array) -> None:
        self._after = np.clip(after, 0.0, 1.0)

    def bits(self, index: Array, before: Array, mean: Array, more: Array) -> Array:
        bits = np.where(before > 0, 0.0, entropy(self._after[index.astype(int)]))
        return np.asarray(bits[:, None] * np.ones(len(more)))


class _Hypotheses:
    """Each gap twice: the measured point lies before the culprit, or not."""

    def __init__(self, found: Posterior) -> None:
        kept = np.flatnonzero(found.gaps > NEGLIGIBLE)
        self._reached = np.cumsum(found.mass)
        self._low, self._high = found.points[kept], found.points[kept + 1]
        self._weight = found.gaps[kept] / found.gaps[kept].sum()
        self.kept = kept

    def weights(self, index: Array) -> Array:
        """Shape (A, 2 C): each gap with the point at the old level, then each gap with it at the new one."""
        place = np.clip(index[:, None].astype(int), self._low, self._high)
        base = self._reached[self._low]
        share = (self._reached[place] - base) / (self._reached[self._high] - base)
        return np.concatenate([(1 - share) * self._weight, share * self._weight], axis=1)


class GaussianChannel:
    """Numbers with noise. Boots of one build share its layout's offset, so each further boot reveals less; what
    earlier boots revealed of the offset is taken into account."""

    def __init__(self, levels: Normal, found: Posterior) -> None:
        self._of = _Hypotheses(found)
        kept = self._of.kept
        grid = found.by_gap[kept] / found.by_gap[kept].sum(axis=1, keepdims=True)
        self._sigma2 = float(found.noise @ levels.sigma**2)
        self._tau2 = np.tile(grid @ levels.tau**2, 2)
        self._mean, self._known = (
            np.concatenate(pair)
            for pair in zip(
                *(_mean_and_variance(grid, side, kept) for side in (found.old, found.new)), strict=True
            )
        )

    def bits(self, index: Array, before: Array, mean: Array, more: Array) -> Array:
        weights = self._of.weights(index)
        # the mean of a build lies around its level by tau; its boots narrow that down
        spread = self._tau2 + self._known
        gain = spread / (spread + self._sigma2 / np.maximum(before, 1)[:, None]) * (before[:, None] > 0)
        centre = self._mean + gain * (np.where(before > 0, mean, 0.0)[:, None] - self._mean)
        variance = ((1 - gain) * spread)[:, None, :] + self._sigma2 / more[:, None]
        return _mutual_information(weights, centre, variance)


class BinomialChannel:
    """Outcomes of a test with a failure rate at each level."""

    def __init__(self, found: Posterior) -> None:
        self._of = _Hypotheses(found)
        kept = self._of.kept
        self._rate = np.clip(np.concatenate([found.old[0][kept, 0], found.new[0][kept, 0]]), 0.0, 1.0)

    def bits(self, index: Array, before: Array, mean: Array, more: Array) -> Array:
        weights = self._of.weights(index)
        bits = np.empty((len(index), len(more)))
        for at, count in enumerate(more.astype(int)):
            chances = binom.pmf(np.arange(count + 1), count, self._rate[:, None])
            either = weights @ chances
            bits[:, at] = weights @ xlogy(chances, chances).sum(axis=1) - xlogy(either, either).sum(axis=1)
        return np.asarray(np.maximum(bits / np.log(2), 0.0))


def channel_for(levels: Levels, found: Posterior) -> Channel:
    """The channel for a family of levels."""
    return GaussianChannel(levels, found) if isinstance(levels, Normal) else BinomialChannel(found)


def _mean_and_variance(grid: Array, side: tuple[Array, Array], kept: NDArray[np.int64]) -> tuple[Array, Array]:
    """The mean and variance of a level for each gap, over the grid."""
    means, variances = side[0][kept], side[1][kept]
    mean = (grid * means).sum(axis=1)
    return mean, (grid * (variances + (means - mean[:, None]) ** 2)).sum(axis=1)


def _mutual_information(weights: Array, centre: Array, variance: Array) -> Array:
    """The mutual information (A, L) of hypotheses (A, C) and a normal result: centres (A, C), variances (A, L, C).

    The entropy of the mixture is computed at Gauss-Hermite nodes of each of its components.
    """
    deviation = np.sqrt(variance)
    at = centre[:, None, :, None] + deviation[..., None] * NODES
    apart = (at[..., None] - centre[:, None, None, None, :]) / deviation[:, :, None, None, :]
    density = np.exp(-(apart**2) / 2) / deviation[:, :, None, None, :]
    mixture = np.einsum("alckd,ad->alck", density, weights)
    own = np.exp(-(NODES**2) / 2) / deviation[..., None]
    left = np.log2(np.maximum(own, 1e-300)) - np.log2(np.maximum(mixture, 1e-300))
    return np.asarray(np.maximum(np.einsum("alck,k,ac->al", left, WEIGHTS, weights), 0.0))
