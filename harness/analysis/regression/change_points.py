"""Finds the steps of one series of measurements in the order of their commits, and its isolated outliers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.analysis.regression.step_search import WIDE, Candidate, Search

Array = NDArray[np.float64]

LONGEST = 400
"""Only the newest points, so many of them, are searched; older steps were found when they were new."""
LEVEL = 0.006
"""A step with at most this probability is reported without a rerun. At most 1% of quiet series have one."""
FRESH = 20
"""Steps with at most so many points after them get the sensitive search. With more points, even a small step is
plain."""
SUSPICION, PLAIN = -1.5, 2.0
"""The evidence (a log likelihood ratio) from which a fresh step, and an older one, deserves a rerun."""


LEVELS = 30
"""The most points of a segment whose median is its level: those next to the step or the outlier."""
MODE, OFTEN, ALIKE = 3, 0.03, 0.25
"""At least `MODE` outliers that are more than the share `OFTEN` of the points, and differ by less than the
share `ALIKE` of their distance from the other points, are a second mode of the noise, not outliers."""


@dataclass(frozen=True, slots=True)
class Change:
    """A step: `index` is the first point of the new level, `last` the last point of the old one. Isolated outliers
    belong to neither.

    - The step surely begins between `earliest` and `latest`, both included.
    - `change` and its 95% `interval` are relative to the old level, or absolute if that is 0.
    - `evidence` is the log likelihood ratio of the step. `probability` is that of as much evidence in a quiet
      series.
    """

    index: int
    earliest: int
    latest: int
    old_level: float
    new_level: float
    change: float
    interval: tuple[float, float]
    evidence: float
    probability: float
    last: int = -1


@dataclass(frozen=True, slots=True)
class Outlier:
    """An isolated outlier: `length` points from `index` on whose median is `value`, where the points around have
    `level`.

    - `alone` is whether the points after it show that it went away; at the end of a series nobody knows yet.
    - `beside` is the nearest point before it that is no outlier; after it, if there is none before.
    """

    index: int
    length: int
    value: float
    level: float
    alone: bool
    beside: int

    @property
    def change(self) -> float:
        """The difference from the level, relative to it, or absolute if the level is 0."""
        return (self.value - self.level) / (abs(self.level) or 1.0)


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look at a series found: `best` is the likeliest step or None, `steps` are those of `suspects`,
    `outliers` the isolated outliers."""

    best: Candidate | None
    steps: list[Change]
    outliers: list[Outlier]


class Scan:
    """The search in one series of noisy values; `series` are its newest finite ones. The evidence is computed
    once, however often it is asked for."""

    def __init__(self, values: ArrayLike) -> None:
        self._kept, self.series = _recent(values)
        self.search = Search(self.series)

    def look(self, level: float = LEVEL, suspicion: float = SUSPICION) -> Looked:
        """The likeliest step, the suspects with the likeliest first, and the outliers."""
        search, series, kept = self.search, self.series, self._kept
        search.taken = []
        best = search.best()
        search.take(level)
        others = search.rest(min(suspicion, PLAIN))
        worth = [one for one in others if one.evidence >= PLAIN or len(series) - one.index <= FRESH]
        steps = [_described(one, search, series, kept) for one in (*search.taken, *worth)]
        return Looked(best, steps, _outliers(search, series, kept))

    def changes(self, level: float = LEVEL) -> list[Change]:
        """The steps by index, each with a probability of at most `level`.

        Steps are taken one by one, the likeliest first, each judged given those taken before (forward selection).
        A change that went away again is two steps. A series that is too short, or constant, has none.
        """
        self.search.take(level)
        found = [_described(one, self.search, self.series, self._kept) for one in self.search.taken]
        return sorted(found, key=lambda one: one.index)


def look(values: ArrayLike, level: float = LEVEL, suspicion: float = SUSPICION) -> Looked:
    """As `Scan.look`."""
    return Scan(values).look(level, suspicion)


def changes(values: ArrayLike, level: float = LEVEL) -> list[Change]:
    """As `Scan.changes`. Values that are not finite are skipped."""
    return Scan(values).changes(level)


def suspects(values: ArrayLike, level: float = LEVEL, suspicion: float = SUSPICION) -> list[Change]:
    """The steps that deserve a rerun, the likeliest first.

    These are the steps of `changes`, and others whose evidence is at least `suspicion` if at most `FRESH` points
    follow them, or else at least `PLAIN`.
    """
    return look(values, level, suspicion).steps


def exact_changes(values: ArrayLike, counts: Sequence[int] = ()) -> list[Change]:
    """Every change of a number without noise: one point on each side suffices.

    `counts` are the samples of each value. A single sample between equal values is an outlier, not two changes: an
    exact number that one commit changed and the next changed back is measured again before either is blamed.
    """
    return exact_look(values, counts).steps


def exact_outliers(values: ArrayLike, counts: Sequence[int] = ()) -> list[Outlier]:
    """The outliers of a number without noise: single samples between equal values, two before and one after."""
    return exact_look(values, counts).outliers


def exact_look(values: ArrayLike, counts: Sequence[int] = ()) -> Looked:
    """The changes and the outliers of a number without noise. None is the likeliest, so `best` is None."""
    kept, series = _finite(values)
    last, odd, after = series[1:-2], series[2:-1], series[3:]
    single = np.flatnonzero((odd != after) & (last == after) & (series[:-3] == after)) + 2
    single = np.array([at for at in single if not counts or counts[int(kept[at])] == 1], dtype=int)
    outliers = [
        Outlier(int(kept[at]), 1, float(series[at]), float(series[at + 1]), True, int(kept[at - 1]))
        for at in single
    ]
    real = np.delete(np.arange(len(series)), single)
    places = np.flatnonzero(series[real[1:]] != series[real[:-1]])
    found = []
    for before, at in zip(real[places], real[places + 1], strict=True):
        old, new = float(series[before]), float(series[at])
        change = (new - old) / abs(old) if old else new - old
        index, last_of_old = int(kept[at]), int(kept[before])
        sure = (change, change)
        found.append(Change(index, last_of_old + 1, index, old, new, change, sure, np.inf, 0.0, last_of_old))
    return Looked(None, found, outliers)


def strongest(values: ArrayLike) -> Candidate | None:
    """The likeliest step of a series, however unlikely it is. Error rates are measured with it."""
    return Search(_recent(values)[1]).best()


def _finite(values: ArrayLike) -> tuple[NDArray[np.int64], Array]:
    """The finite values, and their indices among all values."""
    everything = np.asarray(values, dtype=float)
    kept = np.flatnonzero(np.isfinite(everything))
    return kept, everything[kept]


def _recent(values: ArrayLike) -> tuple[NDArray[np.int64], Array]:
    kept, series = _finite(values)
    return kept[-LONGEST:], series[-LONGEST:]


def _described(one: Candidate, search: Search, series: Array, kept: NDArray[np.int64]) -> Change:
    """Describe the candidate by its levels, with indices among all values."""
    size, error = search.sizes(one)[one.index]
    start = max((other.index for other in search.taken if other.index < one.index), default=0)
    real = np.flatnonzero(search.there)
    before = real[(real >= start) & (real < one.index)]
    old = float(np.median(series[before[-LEVELS:]]))
    whole = abs(old) or 1.0
    first = int(real[real >= one.index][0])
    index, earliest, latest, last = (int(kept[at]) for at in (first, one.earliest, one.latest, before[-1]))
    change, about = size / whole, WIDE * error / whole
    span, new = (change - about, change + about), old + size
    return Change(index, earliest, latest, old, new, change, span, one.evidence, one.probability, last)


def _outliers(search: Search, series: Array, kept: NDArray[np.int64]) -> list[Outlier]:
    """The outliers that are rare, compared with the level of their segment."""
    edges = np.array(sorted({0, *(one.index for one in search.taken), len(series)}))
    real = np.flatnonzero(search.there)
    found = []
    for run in search.outliers:
        segment = int(np.searchsorted(edges, run.first, side="right"))
        inside = real[(real >= edges[segment - 1]) & (real < edges[segment])]
        near = inside[np.argsort(np.abs(inside - run.first), kind="stable")[:LEVELS]]
        value, level = (float(np.median(series[at])) for at in (slice(run.first, run.end), near))
        beside = real[max(0, int(np.searchsorted(real, run.first)) - 1)]
        first, length = int(kept[run.first]), run.end - run.first
        found.append(Outlier(first, length, value, level, run.alone, int(kept[beside])))
    return [one for one in found if not _is_a_mode(one, found, len(series))]


def _is_a_mode(one: Outlier, every: Sequence[Outlier], points: int) -> bool:
    """Whether many other outliers have the same distance from their level, so that they are a mode of the
    noise."""
    far = one.value - one.level
    alike = [other for other in every if abs(other.value - other.level - far) < ALIKE * abs(far)]
    return len(alike) >= MODE and len(alike) > OFTEN * points
