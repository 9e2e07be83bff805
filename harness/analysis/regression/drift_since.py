"""Finds what changed since a named version, or since the last release: steps, and drift without a step.

A change of 0.3% per commit is nowhere a step. A slope over many nights is reported if it is large compared with
the noise of one night and with noise that wanders.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.analysis.regression import ar1_noise
from harness.analysis.regression.ancestry import Graph
from harness.analysis.regression.change_points import LEVEL, LONGEST
from harness.analysis.regression.series import NO_GRAPH, Numbers, Samples, Series, numbers
from harness.analysis.regression.step_search import SEGMENT, WIDE, Search
from harness.core.errors import HarnessError
from harness.metrics.records import Metric, Version

Array = NDArray[np.float64]

FEWEST = 4 * SEGMENT
"""With fewer points than this since the version, only steps are reported."""
CERTAIN, GREAT = 5.0, 3.0
"""A slope that nobody asked for is reported if it is at least `CERTAIN` standard errors, and at least `GREAT`
deviations of one night's noise in all. No quiet series of `docs/results/judgement.md` has both."""
RELEASE = re.compile(r"v?\d+(\.\d+)*")
"""How a release is described; the commits after it have a count behind the name."""


@dataclass(frozen=True, slots=True)
class Since:
    """The change of a series from one version to another, both as fitted to the nights around them.

    `change` is relative to the old level, with its 95% `interval`. `in_steps` is how much of it, in percent of the
    old level, lies in the `steps` found between them; the rest is drift.
    """

    metric: Metric
    cell: str
    subject: str
    since: Version
    until: Version
    old_level: float
    new_level: float
    change: float
    interval: tuple[float, float]
    steps: int
    in_steps: float

    @property
    def worse(self) -> bool:
        """Whether the metric changed for the worse."""
        return (self.change > 0) == (self.metric.better == "lower")

    @property
    def drift(self) -> float:
        """The part of `change` that lies in no step: what crept."""
        return self.change - self.in_steps / 100

    @property
    def words(self) -> str:
        """The change in words: `since v0.57.0: +20%, no single step`."""
        of = f"{self.in_steps:+.3g}% of it in {self.steps} step{'s' * (self.steps > 1)}" if self.steps else ""
        low, high = (100 * end for end in self.interval)
        between = "" if low == high else f" ({low:+.3g}% to {high:+.3g}%)"
        name = self.since.described or self.since.commit[:12]
        return f"since {name}: {100 * self.change:+.3g}%{between}, {of or 'no single step'}"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; the words come first."""
        row = asdict(self)
        return {"since": self.words, "from": row.pop("since"), **row, "worse": self.worse}


def since(samples: Samples, name: str = "", graph: Graph = NO_GRAPH, branch: str = "") -> list[Since]:
    """The changes of each series since a version.

    With `name` (a version's description, or the first digits of its commit), every series with a certain change
    since it is returned. Without a name, those that drifted certainly and by much since the last release that is
    in them, or else since they began.

    Raises `HarnessError` if there is no such version.
    """
    measured = numbers(samples, graph, branch)
    every = measured.judged_series
    if name and not any(_is(name, version) for series in every for version in series.versions):
        described = {one.described for series in every for one in series.versions}
        known = ", ".join(sorted(one for one in described if RELEASE.fullmatch(one))[-5:])
        such = f"It has {known}." if known else "Name one as `git describe` does, or by its commit."
        raise HarnessError(f"The history has no version {name!r}.", such)
    moments = _moments(every, name) if name else {}
    found = []
    for series in every:
        at = _begins(series, name, moments) if name or not series.exact else None  # it steps, and never creeps
        if at is not None and (one := _crept(measured, series, at, bool(name))):
            found.append(one)
    return sorted(found, key=lambda one: -abs(one.change))


def _is(name: str, version: Version) -> bool:
    """Whether the name means this version: its whole description, that of a release with commits after it, or
    at least seven digits of its commit."""
    of_release = version.described == name or version.described.startswith(f"{name}-")
    return of_release or (len(name) >= 7 and version.commit.startswith(name))


def _moments(every: Sequence[Series], name: str) -> dict[str, float]:
    """For each kernel, the time at which the named version stands in its series; if it was not measured, that
    of the first version after it."""
    found: dict[str, float] = {}
    for series in every:
        kernel = series.samples[0].cell.partition(":")[0]
        exactly = [t for t, one in zip(series.times, series.versions, strict=True) if one.described == name]
        near = [t for t, one in zip(series.times, series.versions, strict=True) if _is(name, one)]
        for times in (exactly or near)[:1]:
            found[kernel] = min(times, found.get(kernel, times))
    return found


def _begins(series: Series, name: str, moments: dict[str, float]) -> int | None:
    """The point from which a series is looked at: the named version's, or that of the last release with enough
    points after it, or the first."""
    count, oldest = len(series.values), max(0, len(series.values) - LONGEST)
    if name:
        moment = moments.get(series.samples[0].cell.partition(":")[0])
        after = [at for at, one in enumerate(series.times) if moment is not None and one >= moment]
        return max(after[0], oldest) if after else None
    releases = [at for at, one in enumerate(series.versions) if RELEASE.fullmatch(one.described)]
    return max([oldest, *(at for at in releases if oldest <= at <= count - FEWEST)])


def _crept(measured: Numbers, series: Series, at: int, asked: bool) -> Since | None:
    kept = at + np.flatnonzero(np.isfinite(series.values[at:]))
    values = np.asarray(series.values, dtype=float)[kept]
    if series.exact:
        return _exactly(series, kept, values)
    if len(values) < (2 * SEGMENT if asked else FEWEST):
        return None
    scan = measured.scan(series)
    search = scan.search if np.array_equal(values, scan.series) else Search(values)
    if not search.judgeable or not (asked or _may_have_crept(values[search.there])):
        return None
    search.take(LEVEL)
    steps = sorted(one.index for one in search.taken)
    scaled = np.where(search.there, (values - search.middle) / search.unit, 0.0)
    missing = tuple(int(one) for one in np.flatnonzero(~search.there))
    means, covariance = _fitted(scaled, steps, missing)
    ramp, error = float(means[-1]), float(np.sqrt(covariance[-1, -1]))
    night = _of_one_night(scaled[search.there])
    crept = abs(ramp) > CERTAIN * error and abs(ramp) > GREAT * night
    total, about = float(means.sum()), WIDE * float(np.sqrt(covariance.sum()))
    if not (abs(total) > about if asked else crept):
        return None
    columns = _columns(len(values), steps)
    old = float(np.median((scaled - columns @ means)[search.there])) * search.unit + search.middle
    whole, change = abs(old) or 1.0, total * search.unit
    interval = ((change - about * search.unit) / whole, (change + about * search.unit) / whole)
    in_steps = 100 * float(means[:-1].sum()) * search.unit / whole
    return _since(series, kept, (old, old + change), interval, len(steps), in_steps)


def _exactly(series: Series, kept: NDArray[np.int64], values: Array) -> Since | None:
    """The change of an exact number, which is that of its steps."""
    if len(values) < 2 or values[0] == values[-1]:
        return None
    change = float(values[-1] - values[0]) / (abs(float(values[0])) or 1.0)
    steps = int((np.diff(values) != 0).sum())
    return _since(series, kept, (float(values[0]), float(values[-1])), (change, change), steps, 100 * change)


def _since(
    series: Series,
    kept: NDArray[np.int64],
    levels: tuple[float, float],
    interval: tuple[float, float],
    steps: int,
    in_steps: float,
) -> Since:
    first, (old, new) = series.samples[0], levels
    versions = series.versions[int(kept[0])], series.versions[int(kept[-1])]
    change = (new - old) / (abs(old) or 1.0)
    return Since(
        series.metric, first.cell, first.subject, *versions, old, new, change, interval, steps, in_steps
    )  # fmt: skip


def _may_have_crept(values: Array) -> bool:
    """A quick check: whether the ends are further apart than a reported slope would make them."""
    few = max(SEGMENT, len(values) // 8)
    apart = abs(float(np.median(values[-few:]) - np.median(values[:few])))
    return apart > GREAT / 2 * _of_one_night(values)


def _of_one_night(values: Array) -> float:
    """The deviation of one night's noise, from the differences of neighbours: a slope does not change them."""
    return float(np.median(np.abs(np.diff(values)))) / (0.6745 * 2**0.5)


def _columns(count: int, steps: Sequence[int]) -> Array:
    """The columns to fit: one for each step, and last a slope over all points."""
    times = np.arange(count)
    return np.column_stack([*(times >= step for step in steps), times / (count - 1)]).astype(float)


def _fitted(series: Array, steps: Sequence[int], missing: tuple[int, ...]) -> tuple[Array, Array]:
    """The sizes of the steps and of the slope, and their covariance, by least squares in the likeliest kinds of
    noise. If the noise may wander, the slope's error is large."""
    count = len(series)
    alone = np.eye(count)[:, list(missing)]
    columns = np.column_stack([_columns(count, steps), alone])
    own = columns.shape[1] - len(missing)
    freedom = max(1, count - 1 - columns.shape[1])
    logs, means, covariances = [], [], []
    for kind in ar1_noise.whitenings(count, (SEGMENT, count - SEGMENT + 1)):
        basis, scales = np.linalg.qr(kind.whiten @ columns)
        white = kind.whiten @ series
        along = basis.T @ white
        left = max(float(white @ white - along @ along), 0.0) + 1e-12
        inverse = np.linalg.inv(scales)[:own]
        means.append(inverse @ along)
        covariances.append(inverse @ inverse.T * left / freedom)
        logs.append(kind.constant - np.log(np.abs(np.diag(scales))).sum() - freedom / 2 * np.log(left))
    weights = np.exp(np.array(logs) - max(logs))
    weights /= weights.sum()
    mean = weights @ np.array(means)
    spread = [one + np.outer(each - mean, each - mean) for one, each in zip(covariances, means, strict=True)]
    return mean, np.einsum("k,kij->ij", weights, np.array(spread))
