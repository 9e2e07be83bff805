"""The search for steps in one series: what speaks for a step at each place, beside those already taken."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp

from harness.regress import calibrated, modes, noise

Array = NDArray[np.float64]

SEGMENT = 5
"""The fewest points on each side of a step, where numbers are not exact: fewer can be outliers."""
MOST = 12
"""No more steps than this are looked for in one series."""
APART = 5
"""Candidates are further from each other than this many points."""
SURELY = 2.5
"""A step's place is not known better than to where the evidence is less by this."""

NOTHING = 1e-9
"""Steps that leave less than this of the series' standard deviation have explained it all."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A place where a step may begin, between which places it may, and what speaks for it."""

    index: int
    earliest: int
    latest: int
    evidence: float
    surprise: float
    probability: float


class Search:
    """Of a series of at least 2 * SEGMENT finite numbers that are not all equal."""

    def __init__(self, series: Array) -> None:
        self.middle, self.unit = float(np.median(series)), float(series.std())
        self._series = (series - self.middle) / self.unit
        self._places = (SEGMENT, len(series) - SEGMENT + 1)
        self.taken: list[Candidate] = []
        self._weigh()

    def take(self, level: float) -> None:
        """Take steps one by one, the likeliest first, while each has at most this probability."""
        while len(self.taken) < MOST and np.isfinite(self._evidence.max()):
            best = self._candidate(int(self._evidence.argmax()) + SEGMENT)
            if best.probability > level:
                break
            self.taken.append(best)
            self._weigh()

    def best(self) -> Candidate:
        """The likeliest step that is not taken."""
        return self._candidate(int(self._evidence.argmax()) + SEGMENT)

    def rest(self, least: float, apart: int = APART) -> list[Candidate]:
        """The steps that are not taken and have at least this evidence, likeliest first, each the best of so many
        places to either side."""
        left, found = self._evidence.copy(), []
        while left.max() >= least:
            at = int(left.argmax())
            found.append(self._candidate(at + SEGMENT))
            left[max(0, at - apart) : at + apart + 1] = -np.inf
        return found

    def sizes(self, more: Candidate | None = None) -> dict[int, tuple[float, float]]:
        """The size of each step taken (and of one more) and its standard error, in the series' own unit."""
        steps = sorted({one.index for one in ([*self.taken, more] if more else self.taken)})
        size, error = noise.sizes(self._series, self._places, tuple(steps))
        return {
            step: (float(a) * self.unit, float(b) * self.unit)
            for step, a, b in zip(steps, size, error, strict=True)
        }

    def _weigh(self) -> None:
        """The evidence at each place: normal noise and two modes, each as likely as it makes the series."""
        steps = tuple(one.index for one in self.taken)
        left = self._series
        if steps:
            for step, size in zip(steps, noise.sizes(self._series, self._places, steps)[0], strict=True):
                left = left - size * (np.arange(len(left)) >= step)
        if left.std() < NOTHING:
            self._evidence = np.full(self._places[1] - self._places[0], -np.inf)
            return
        left = (left - left.mean()) / left.std()  # after a great step, what is left is small
        normal, two = noise.evidence(left, self._places, steps), modes.evidence(left, self._places)
        quiet = np.append(normal.quiet, two.quiet)
        likelihood = logsumexp(quiet)
        self._usual = float(np.exp(quiet - likelihood) @ np.append(np.ravel(noise.SURPRISE), modes.SURPRISE))
        stepped = np.vstack([normal.stepped, two.stepped])
        self._evidence = np.asarray(logsumexp(stepped, axis=0) - likelihood)
        for step in steps:
            self._evidence[np.abs(np.arange(*self._places) - step) < SEGMENT] = -np.inf

    def _candidate(self, place: int) -> Candidate:
        at = place - SEGMENT
        evidence = float(self._evidence[at])
        likely = np.flatnonzero(self._evidence < evidence - SURELY) + SEGMENT
        before, after = likely[likely < place], likely[likely > place]
        earliest = max(place - SEGMENT + 1, int(before[-1]) + 1 if len(before) else 0)
        latest = min(place + SEGMENT - 1, int(after[0]) - 1 if len(after) else len(self._series) - 1)
        surprise = evidence - self._usual
        chance = max(calibrated.probability(surprise, len(self._series)), self._least(place))
        return Candidate(place, earliest, latest, evidence, surprise, chance)

    def _least(self, place: int) -> float:
        """No step is less probable than that shuffled points fall so apart: what few points can say is bounded."""
        edges = [0, *sorted(one.index for one in self.taken), len(self._series)]
        start = max(edge for edge in edges if edge < place)
        end = min(edge for edge in edges if edge > place)
        ways = gammaln(end - start + 1) - gammaln(place - start + 1) - gammaln(end - place + 1)
        return float(min(1.0, 2 * np.exp(-ways)))
