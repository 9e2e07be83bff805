"""The likelihood of the numbers of several builds if these builds share one level, whatever it is.

A hypothesis cuts the builds into sets that share a level each; its likelihood is the product of theirs. The sums
that the likelihood of a set needs are additive over its builds, so cumulative sums judge all cuts at once. The
other unknowns (the noise of a boot and the spread of layouts) form a grid of G points with weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln

from harness.analysis.bisect.model import Kind, Measure

Array = NDArray[np.float64]

CLIP = 9.0
"""Values are clipped at so many median deviations from the median of their build: about six sigmas."""
LAYOUT_STEPS = np.geomspace(0.1, 10, 9)
"""The spreads of layouts that the grid has, in usual offsets; weighted by a half-t prior (Gelman 2006)."""
FREEDOM = 4
"""Degrees of freedom of that prior: a spread of ten usual offsets is possible, and unlikely."""
NO_LAYOUT = 0.3
"""The prior probability that layouts do not matter at all."""
NOISE_STEPS = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
"""The noises that the grid has, in standard errors of the logarithm of the estimated noise."""
CERTAIN = 0.3
"""The prior probability that a test never fails at a level; and that it always fails."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The boots of one build: their number, their mean, and the sum of squares around it; outliers are clipped."""

    count: int
    mean: float
    scatter: float


def summary(values: Sequence[float]) -> Summary:
    """Summarize at least one value."""
    kept = np.asarray(values, dtype=float)
    if len(kept) >= 8:
        middle = float(np.median(kept))
        if bound := CLIP * float(np.median(np.abs(kept - middle))):
            kept = np.clip(kept, middle - bound, middle + bound)
    mean = float(kept.mean())
    return Summary(len(kept), mean, float(((kept - mean) ** 2).sum()))


class Levels(Protocol):
    """A family of likelihoods. `grid` holds the log weights (G) of the unknowns besides the levels."""

    @property
    def grid(self) -> Array: ...

    @property
    def width(self) -> float:
        """The log of the span of the prior of one further level; 0 if `evidence` includes it."""

    def sums(self, builds: Sequence[Summary]) -> Array:
        """The additive sums, (builds, G, sums)."""

    def evidence(self, sums: Array) -> Array:
        """The log likelihood (…, G) of sets of builds that share a level, from their sums (…, G, sums)."""

    def level(self, sums: Array) -> tuple[Array, Array]:
        """The level of such sets, as mean and variance, each (…, G)."""


class Normal:
    """Numbers with noise: sigma of a boot, tau of a layout; a level can be any number.

    The mean of a build is normal around its level with variance tau² + sigma²/boots. The level is integrated out
    over a flat prior, in closed form (Gelman et al., Bayesian Data Analysis, 3rd ed., 5.4).
    """

    def __init__(self, builds: Sequence[Summary], ends: tuple[float, float], layout: float) -> None:
        """Takes all builds, the means at both ends, and the usual offset of a layout in the measure's unit."""
        self.origin = ends[0]
        span = abs(ends[1] - ends[0])
        self.width = float(np.log(3 * span)) if span else 0.0
        freedom = max(1, sum(one.count - 1 for one in builds))
        pooled = float(np.sqrt(sum(one.scatter for one in builds) / freedom))
        # with a noise of 0 any difference would be certain; a noise that was not seen is not 0
        pooled = max(pooled, 1e-3 * span, 1e-12)
        sigmas = pooled * np.exp(NOISE_STEPS / np.sqrt(2 * freedom))
        steps = np.append(0.0, LAYOUT_STEPS) if layout else np.zeros(1)
        student = LAYOUT_STEPS / (1 + LAYOUT_STEPS**2 / FREEDOM) ** ((FREEDOM + 1) / 2)
        weights = np.append(NO_LAYOUT, (1 - NO_LAYOUT) * student / student.sum()) if layout else np.ones(1)
        self.sigma, self.tau = (one.ravel() for one in np.meshgrid(sigmas, steps * layout, indexing="ij"))
        self.grid = np.log(np.tile(weights, len(sigmas)))

    def sums(self, builds: Sequence[Summary]) -> Array:
        count = np.array([one.count for one in builds], dtype=float)[:, None]
        mean = np.array([one.mean - self.origin for one in builds])[:, None]
        scatter = np.array([one.scatter for one in builds])[:, None]
        weight = 1 / (self.tau**2 + self.sigma**2 / count)
        constant = np.log(weight) / 2 - (count - 1) * np.log(self.sigma) - scatter / (2 * self.sigma**2)
        return np.stack([weight, weight * mean, weight * mean**2, constant], axis=-1)

    def evidence(self, sums: Array) -> Array:
        weight, first, second, constant = np.moveaxis(sums, -1, 0)
        left = second - first**2 / weight
        return np.asarray(constant - left / 2 + np.log(2 * np.pi / weight) / 2)

    def level(self, sums: Array) -> tuple[Array, Array]:
        return self.origin + sums[..., 1] / sums[..., 0], 1 / sums[..., 0]


class Failures:
    """A test with a failure rate per level: never, always, or anything between (Jeffreys' prior)."""

    grid = np.zeros(1)
    width = 0.0

    def sums(self, builds: Sequence[Summary]) -> Array:
        return np.array([[[one.count * one.mean, one.count]] for one in builds])

    def evidence(self, sums: Array) -> Array:
        failed, ran = np.maximum(sums[..., 0], 0.0), sums[..., 1]
        passed = np.maximum(ran - failed, 0.0)
        some = np.log(1 - 2 * CERTAIN) + betaln(failed + 0.5, passed + 0.5) - betaln(0.5, 0.5)
        never = np.where(failed < 1e-9, np.log(CERTAIN), -np.inf)
        always = np.where(passed < 1e-9, np.log(CERTAIN), -np.inf)
        return np.asarray(np.logaddexp(some, np.logaddexp(never, always)))

    def level(self, sums: Array) -> tuple[Array, Array]:
        failed, ran = np.maximum(sums[..., 0], 0.0), sums[..., 1]
        passed = np.maximum(ran - failed, 0.0)
        some = np.exp(np.log(1 - 2 * CERTAIN) + betaln(failed + 0.5, passed + 0.5) - betaln(0.5, 0.5))
        never, always = CERTAIN * (failed < 1e-9), CERTAIN * (passed < 1e-9)
        share = some / (some + never + always)
        rate = (failed + 0.5) / (ran + 1)
        certain = always / (some + never + always)
        mean = share * rate + certain
        spread = share * (rate * (1 - rate) / (ran + 2) + rate**2) + certain - mean**2
        return np.asarray(mean), np.asarray(np.maximum(spread, 0.0))


def levels_of(measure: Measure, builds: Sequence[Summary], ends: tuple[float, float]) -> Levels:
    """The family for a measure. The usual offset of a layout is relative to the end with the larger level."""
    if measure.kind is Kind.TEST:
        return Failures()
    return Normal(builds, ends, measure.layout * max(abs(ends[0]), abs(ends[1])))
