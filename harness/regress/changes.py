"""Steps in one series of measurements in the order of their commits."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from harness.regress.search import SEGMENT, Candidate, Search

Array = NDArray[np.float64]

LONGEST = 400
"""Only so many of the newest points are looked at; older steps were found when they were new."""
LEVEL = 0.006
"""The probability up to which a step is raised without a rerun; 1% of quiet series or fewer raise one."""
FRESH = 20
"""A step with more points after it than this needs no sensitive look: they make even a small one plain."""
SUSPICION, PLAIN = -1.5, 2.0
"""The evidence (a log likelihood ratio) from which a fresh step, and an older one, is worth a rerun."""


@dataclass(frozen=True, slots=True)
class Change:
    """A step: `index` is the first point of the new level, surely not before `earliest` nor after `latest`.

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


def changes(values: ArrayLike, level: float = LEVEL) -> list[Change]:
    """The steps in noisy values, by index, each with a probability of at most `level`.

    Steps are taken one by one, the likeliest first, each judged beside those taken (forward selection); a change
    that went away again is two. Values that are not finite are passed over; a series too short or constant has no
    step.
    """
    kept, series = _recent(values)
    if not _judgeable(series):
        return []
    search = Search(series)
    search.take(level)
    found = [_described(one, search, series, kept) for one in search.taken]
    return sorted(found, key=lambda one: one.index)


def suspects(values: ArrayLike, level: float = LEVEL, suspicion: float = SUSPICION) -> list[Change]:
    """What is worth a rerun, likeliest first: the steps of `changes`, and others whose evidence is at least
    `suspicion` if at most `FRESH` points are after them, or else `PLAIN`."""
    kept, series = _recent(values)
    if not _judgeable(series):
        return []
    search = Search(series)
    search.take(level)
    others = search.rest(min(suspicion, PLAIN))
    worth = [one for one in others if one.evidence >= PLAIN or len(series) - one.index <= FRESH]
    return [_described(one, search, series, kept) for one in (*search.taken, *worth)]


def exact_changes(values: ArrayLike) -> list[Change]:
    """Every change of a number without noise: each is one at once, with one point on each side."""
    kept, series = _finite(values)
    found = []
    for at in np.flatnonzero(np.diff(series)) + 1:
        old, new, index = float(series[at - 1]), float(series[at]), int(kept[at])
        change = (new - old) / abs(old) if old else new - old
        found.append(Change(index, index, index, old, new, change, (change, change), np.inf, 0.0))
    return found


def strongest(values: ArrayLike) -> Candidate | None:
    """The likeliest step of a series, however unlikely it is: what error rates are measured on."""
    _, series = _recent(values)
    return Search(series).best() if _judgeable(series) else None


def _finite(values: ArrayLike) -> tuple[NDArray[np.int64], Array]:
    """The finite values, with their indices among all."""
    everything = np.asarray(values, dtype=float)
    kept = np.flatnonzero(np.isfinite(everything))
    return kept, everything[kept]


def _recent(values: ArrayLike) -> tuple[NDArray[np.int64], Array]:
    kept, series = _finite(values)
    return kept[-LONGEST:], series[-LONGEST:]


def _judgeable(series: Array) -> bool:
    return len(series) >= 2 * SEGMENT and bool(np.ptp(series) > 1e-12 * np.abs(series).max())


def _described(one: Candidate, search: Search, series: Array, kept: NDArray[np.int64]) -> Change:
    """The candidate with its levels, among all values."""
    size, error = search.sizes(one)[one.index]
    start = max((other.index for other in search.taken if other.index < one.index), default=0)
    old = float(np.median(series[start : one.index]))
    whole = abs(old) or 1.0
    index, earliest, latest = (int(kept[place]) for place in (one.index, one.earliest, one.latest))
    span = ((size - 1.96 * error) / whole, (size + 1.96 * error) / whole)
    return Change(index, earliest, latest, old, old + size, size / whole, span, one.evidence, one.probability)
