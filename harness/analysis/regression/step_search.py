"""Searches one series for steps: the evidence at each place, given the steps already taken."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

from harness.analysis.regression import ar1_noise, calibration, mixture_noise
from harness.analysis.regression.outliers import outliers

Array = NDArray[np.float64]

SEGMENT = 5
"""The fewest points on each side of a step of a noisy metric. If there are fewer, they may all be outliers."""
REAL = 4
"""The fewest points of a segment that are no outliers."""
MOST = 12
"""The most steps that are taken in one series."""
APART = 5
"""Candidates are more points than this apart."""
SURELY = 2.5
"""A step may begin wherever the evidence is less than the best by at most this."""

NOTHING = 1e-9
"""Steps that leave less than this share of the series' standard deviation explain all of it."""
EQUAL = 1e-12
"""Numbers that differ by at most this share of the greatest value are equal."""
WIDE = 1.96
"""A step's 95% interval reaches so many standard errors to both sides."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place where a step may begin, the range of places in which it surely does, and the evidence for it."""

    index: int
    earliest: int
    latest: int
    evidence: float
    surprise: float
    probability: float


class Search:
    """The search in a series of finite numbers. `outliers` are its isolated outliers, which are left out.

    A series with fewer than 2 * SEGMENT other points, or with equal ones, has no step. What was computed for some
    steps taken is kept, so that another search at another level gets it at once.
    """

    def __init__(self, series: Array) -> None:
        self.outliers = outliers(series)
        self._missing = tuple(at for run in self.outliers for at in range(run.first, run.end))
        self.there = np.ones(len(series), dtype=bool)
        self.there[list(self._missing)] = False
        real = series[self.there]
        self._places = (SEGMENT, len(series) - SEGMENT + 1)
        self.taken: list[Candidate] = []
        self.judgeable = len(real) >= 2 * SEGMENT and bool(np.ptp(real) > EQUAL * np.abs(real).max())
        if self.judgeable:
            self.middle, self.unit = float(np.median(real)), float(real.std())
            self._series = np.where(self.there, (series - self.middle) / self.unit, 0.0)
        self._weighed: dict[tuple[int, ...], tuple[Array, float]] = {}
        self._sized: dict[tuple[int, ...], tuple[Array, Array]] = {}

    def take(self, level: float) -> None:
        """Take steps anew: one by one, the likeliest first, as long as each has at most this probability. Then
        give back those whose size may be 0 given the others, the least certain first."""
        self.taken = []
        while self.judgeable and len(self.taken) < MOST and np.isfinite(self._evidence.max()):
            best = self._candidate(int(self._evidence.argmax()) + SEGMENT)
            if best.probability > level:
                break
            self.taken.append(best)
        while doubtful := {at: abs(size / error) for at, (size, error) in self.sizes().items() if error > 0}:
            least = min(doubtful, key=doubtful.__getitem__)
            if doubtful[least] > WIDE:
                break
            self.taken = [one for one in self.taken if one.index != least]

    def best(self) -> Candidate | None:
        """The likeliest step that is not taken; None if there is none."""
        if not self.judgeable or not np.isfinite(self._evidence.max()):
            return None
        return self._candidate(int(self._evidence.argmax()) + SEGMENT)

    def rest(self, least: float, apart: int = APART) -> list[Candidate]:
        """The steps that are not taken and have at least the evidence `least`, the likeliest first, each the
        best within `apart` places on either side."""
        if not self.judgeable:
            return []
        left, found = self._evidence.copy(), []
        while left.max() >= least:
            at = int(left.argmax())
            found.append(self._candidate(at + SEGMENT))
            left[max(0, at - apart) : at + apart + 1] = -np.inf
        return found

    def sizes(self, more: Candidate | None = None) -> dict[int, tuple[float, float]]:
        """The size of each step taken (and of one more) and its standard error, in the unit of the series."""
        steps = sorted({one.index for one in ([*self.taken, more] if more else self.taken)})
        if not steps:
            return {}
        size, error = self._sizes(tuple(steps))
        return {
            step: (float(a) * self.unit, float(b) * self.unit)
            for step, a, b in zip(steps, size, error, strict=True)
        }

    def _sizes(self, steps: tuple[int, ...]) -> tuple[Array, Array]:
        """The sizes of these steps and their standard errors, in standard deviations of the series."""
        if steps not in self._sized:
            self._sized[steps] = ar1_noise.sizes(self._series, self._places, steps, self._missing)
        return self._sized[steps]

    @property
    def _evidence(self) -> Array:
        """The evidence at each place, given the steps taken."""
        return self._beside_taken[0]

    @property
    def _beside_taken(self) -> tuple[Array, float]:
        """The evidence given the steps taken, and the evidence that a quiet series usually has; computed when
        first asked for."""
        steps = tuple(one.index for one in self.taken)
        if steps not in self._weighed:
            self._weighed[steps] = self._weigh(steps)
        return self._weighed[steps]

    def _weigh(self, steps: tuple[int, ...]) -> tuple[Array, float]:
        """The evidence at each place: that of normal noise and that of two modes, weighted by how likely each
        makes the series."""
        left, places, missing = self._series, self._places, self._missing
        if steps:
            for step, size in zip(steps, self._sizes(steps)[0], strict=True):
                left = left - size * (np.arange(len(left)) >= step)
        real = left[self.there]
        if real.std() < NOTHING:
            return np.full(places[1] - places[0], -np.inf), 0.0
        left = np.where(self.there, (left - real.mean()) / real.std(), 0.0)  # what a great step leaves is small
        normal = ar1_noise.evidence(left, places, steps, missing)
        two = mixture_noise.evidence(
            mixture_noise.levelled(left, self.there, steps) if steps else left, places, missing
        )
        quiet = np.append(normal.quiet, two.quiet)
        likelihood = logsumexp(quiet)
        usual = float(
            np.exp(quiet - likelihood) @ np.append(np.ravel(ar1_noise.SURPRISE), mixture_noise.SURPRISE)
        )
        stepped = np.vstack([normal.stepped, two.stepped])
        found = np.asarray(logsumexp(stepped, axis=0) - likelihood)
        counts = np.cumsum(self.there)
        before = counts[np.arange(*places) - 1]
        found[(before < REAL) | (counts[-1] - before < REAL)] = -np.inf
        for step in steps:
            found[np.abs(np.arange(*places) - step) < SEGMENT] = -np.inf
            found[np.abs(before - counts[step - 1]) < REAL] = -np.inf
        return found, usual

    def _candidate(self, place: int) -> Candidate:
        """The step at this place. Outliers next to its span are left out, for they belong to neither level."""
        weighed, usual = self._beside_taken
        evidence = float(weighed[place - SEGMENT])
        likely = np.flatnonzero(weighed < evidence - SURELY) + SEGMENT
        before, after = likely[likely < place], likely[likely > place]
        earliest = max(place - SEGMENT + 1, int(before[-1]) + 1 if len(before) else 0)
        latest = min(place + SEGMENT - 1, int(after[0]) - 1 if len(after) else len(self._series) - 1)
        real = np.flatnonzero(self.there)
        earliest = int(real[real < max(earliest, real[0] + 1)][-1]) + 1
        latest = int(real[real >= min(latest, real[-1])][0])
        surprise = evidence - usual
        chance = max(calibration.probability(surprise, len(real)), self._least(place))
        return Candidate(place, earliest, latest, evidence, surprise, chance)

    def _least(self, place: int) -> float:
        """The least probability of a step: that of shuffled points falling apart like this. It limits what few
        points can prove."""
        edges = [0, *sorted(one.index for one in self.taken), len(self._series)]
        start = max(edge for edge in edges if edge < place)
        end = min(edge for edge in edges if edge > place)
        before, after = int(self.there[start:place].sum()), int(self.there[place:end].sum())
        ways = gammaln(before + after + 1) - gammaln(before + 1) - gammaln(after + 1)
        return float(min(1.0, 2 * np.exp(-ways)))
