"""Steps in one series of measurements in the order of their commits, and the single points that are none."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.analysis.regression.step_search import WIDE, Candidate, Search

Array = NDArray[np.float64]
Places = NDArray[np.int64]

LONGEST = 400
"""Only so many of the newest points are looked at; older steps were found when they were new."""
LEVEL = 0.006
"""The probability up to which a step is raised without a rerun; 1% of quiet series or fewer raise one."""
FRESH = 20
"""A step with more points after it than this needs no sensitive look: they make even a small one plain."""
SUSPICION, PLAIN = -1.5, 2.0
"""The evidence (a log likelihood ratio) from which a fresh step, and an older one, is worth a rerun."""


LEVELS = 30
"""Points whose median is a level: so many of a segment's, those next to the step or the outlier."""
MODE, OFTEN, ALIKE = 3, 0.03, 0.25
"""So many outliers, and more than this share of the points, are a second mode and not nights, where they differ by
less than a quarter of their distance from the others."""


@dataclass(frozen=True, slots=True)
class Change:
    """A step: `index` is the first point of the new level, surely not before `earliest` nor after `latest`; `last`
    is the last point of the old level. Isolated outliers are of neither.

    `change` and its 95% `interval` are relative to the old level, or absolute where that is 0. `evidence` is the
    log likelihood ratio of the step; `probability` the chance of so much in a quiet series.
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
    """The point at `index`, or `length` points from there, beside the `level` around; `value` is their median.
    `alone` is whether points on both sides show that it went away; else it is so only so far. `beside` is the
    nearest point before it that is none; after it, where there is none before."""

    index: int
    length: int
    value: float
    level: float
    alone: bool
    beside: int

    @property
    def change(self) -> float:
        """Against the level, relative to it, or absolute where that is 0."""
        return (self.value - self.level) / (abs(self.level) or 1.0)


@dataclass(frozen=True, slots=True)
class Suspect:
    """Where a step is, as of `Change`, before anybody asks for its size, which costs more than to find it: most
    suspects of a night are never shown."""

    index: int
    earliest: int
    latest: int
    last: int
    sized: Callable[[], Change] = field(repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Looked:
    """One series, looked at once: `best` is the likeliest step or nothing; `suspects` are worth a rerun."""

    best: Candidate | None
    suspects: Sequence[Suspect | Change]
    outliers: list[Outlier]

    @property
    def steps(self) -> list[Change]:
        """The suspects with their sizes."""
        return [one if isinstance(one, Change) else one.sized() for one in self.suspects]


class Scan:
    """The search in one series of noisy values: `series` are the newest that are finite. Whatever is asked of it,
    the evidence is weighed once."""

    def __init__(self, values: ArrayLike) -> None:
        self._kept, self.series = _recent(values)
        self.search = Search(self.series)

    def look(self, level: float = LEVEL, suspicion: float = SUSPICION) -> Looked:
        """The likeliest step, the suspects, likeliest first, and the outliers."""
        search, series, kept = self.search, self.series, self._kept
        search.taken = []
        best = search.best()
        search.take(level)
        others = search.rest(min(suspicion, PLAIN))
        worth = [one for one in others if one.evidence >= PLAIN or len(series) - one.index <= FRESH]
        steps = [self._suspect(one) for one in (*search.taken, *worth)]
        return Looked(best, steps, _outliers(search, series, kept))

    def changes(self, level: float = LEVEL) -> list[Change]:
        """The steps, by index, each with a probability of at most `level`.

        Steps are taken one by one, the likeliest first, each judged beside those taken (forward selection); a
        change that went away again is two. A series too short or constant has no step.
        """
        self.search.take(level)
        return sorted((self._suspect(one).sized() for one in self.search.taken), key=lambda one: one.index)

    def _suspect(self, one: Candidate) -> Suspect:
        """The candidate, among all values, beside the steps that are taken now."""
        taken = tuple(self.search.taken)
        start = max((other.index for other in taken if other.index < one.index), default=0)
        real = np.flatnonzero(self.search.there)
        before = real[(real >= start) & (real < one.index)]
        first = int(real[real >= one.index][0])
        index, earliest, latest, last = self._kept[[first, one.earliest, one.latest, before[-1]]].tolist()
        where = index, earliest, latest, last
        return Suspect(*where, partial(self._sized, one, taken, before, where))

    def _sized(
        self, one: Candidate, taken: Sequence[Candidate], before: Places, where: tuple[int, int, int, int]
    ) -> Change:
        """The candidate with its levels; `before` are the points of the level before it."""
        size, error = self.search.sizes([*taken, one])[one.index]
        old = float(np.median(self.series[before[-LEVELS:]]))
        whole = abs(old) or 1.0
        index, earliest, latest, last = where
        change, about = size / whole, WIDE * error / whole
        span, new = (change - about, change + about), old + size
        return Change(index, earliest, latest, old, new, change, span, one.evidence, one.probability, last)


def look(values: ArrayLike, level: float = LEVEL, suspicion: float = SUSPICION) -> Looked:
    """As of `Scan.look`."""
    return Scan(values).look(level, suspicion)


def changes(values: ArrayLike, level: float = LEVEL) -> list[Change]:
    """As of `Scan.changes`. Values that are not finite are passed over."""
    return Scan(values).changes(level)


def suspects(values: ArrayLike, level: float = LEVEL, suspicion: float = SUSPICION) -> list[Change]:
    """What is worth a rerun, likeliest first: the steps of `changes`, and others whose evidence is at least
    `suspicion` if at most `FRESH` points are after them, or else `PLAIN`."""
    return look(values, level, suspicion).steps


def exact_changes(values: ArrayLike, counts: Sequence[int] = ()) -> list[Change]:
    """Every change of a number without noise: each is one at once, with one point on each side.

    But a single sample (`counts` are the samples of each value) between equal ones is an outlier: an exact number
    that a commit changed and the next changed back is measured again before either is blamed.
    """
    return exact_look(values, counts).steps


def exact_outliers(values: ArrayLike, counts: Sequence[int] = ()) -> list[Outlier]:
    """Single samples of a number without noise between equal ones: two before, and one after."""
    return exact_look(values, counts).outliers


def exact_look(values: ArrayLike, counts: Sequence[int] = ()) -> Looked:
    """The changes and the outliers of a number without noise; none of them is likelier than another."""
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
    """The likeliest step of a series, however unlikely it is: what error rates are measured on."""
    return Search(_recent(values)[1]).best()


def _finite(values: ArrayLike) -> tuple[Places, Array]:
    """The finite values, with their indices among all."""
    everything = np.asarray(values, dtype=float)
    kept = np.flatnonzero(np.isfinite(everything))
    return kept, everything[kept]


def _recent(values: ArrayLike) -> tuple[Places, Array]:
    kept, series = _finite(values)
    return kept[-LONGEST:], series[-LONGEST:]


def _outliers(search: Search, series: Array, kept: Places) -> list[Outlier]:
    """Those that are rare, beside the level of the segment in which they are."""
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
    """Whether many others are as far from their level."""
    far = one.value - one.level
    alike = [other for other in every if abs(other.value - other.level - far) < ALIKE * abs(far)]
    return len(alike) >= MODE and len(alike) > OFTEN * points
