"""Sequential A/B test: pairs in random order, judged at planned looks whose errors sum to the level."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from math import exp, isfinite, log
from random import Random
from typing import Any

import numpy as np
from scipy import stats

from harness.analysis.ab import sign_flip_test
from harness.metrics.records import Better, Metric

LEVEL = 1e-4
"""The probability of a false alarm in a whole comparison, over all its metrics and looks."""
CONFIDENCE = 0.95
"""The confidence of the interval of one metric, valid whenever the comparison stops."""
POWER = 0.90
"""The probability with which the smallest detectable change would have been found."""
LAST_LOOK_SHARE = 0.7
"""The share of the level that the last look gets; the earlier looks divide the rest."""


class Decision(StrEnum):
    """What the comparison decided about one metric."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class Judgement:
    """The result for one metric: how B differs from A after so many pairs.

    `change`, `interval` and `smallest` are relative to A (0.02 is 2% more), or in the metric's own unit where
    `relative` is false because a value was not above 0. `interval` holds the change with 95% confidence whenever
    the comparison stops. `smallest` is the change that so many pairs would have found in 90% of cases; None where
    there are too few pairs to say. `probability` is an anytime-valid p-value: at most p in a share p of
    comparisons of equal kernels. UNCHANGED means that the interval lies within ±`interesting`, or that exact
    numbers are equal.
    """

    metric: Metric
    decision: Decision
    change: float | None
    interval: tuple[float, float] | None
    probability: float
    pairs: int
    smallest: float | None
    relative: bool = True

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; `from_json` reads them."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> "Judgement":
        """Read what `to_json` wrote."""
        bounds = row["interval"]
        metric = Metric(**{**row["metric"], "better": Better(row["metric"]["better"])})
        decision, interval = Decision(row["decision"]), None if bounds is None else (bounds[0], bounds[1])
        return cls(**{**row, "metric": metric, "decision": decision, "interval": interval})


def planned_looks(most: int) -> dict[int, float]:
    """The numbers of pairs after which a comparison of at most `most` pairs is judged, each with its share of the
    level.

    Each look is a valid test at its own share, so the errors of all looks sum to at most the level however the
    comparison ends (union bound; alpha spending after Lan and DeMets 1983, with most kept for the last look).
    """
    planned = [most]
    while planned[-1] * 0.8 >= 8:
        planned.append(round(planned[-1] * 0.8))
    early = sum(planned[1:])
    shares = {count: (1 - LAST_LOOK_SHARE) * count / early for count in reversed(planned[1:])}
    return {**shares, most: LAST_LOOK_SHARE if early else 1.0}


class Comparison:
    """A comparison of A and B by at most `most` pairs, which the caller measures and adds.

    `level` is the probability of any false alarm. The metrics that are not exact share it; an exact metric is
    decided by one pair. The comparison stops early once every metric is decided: changed, or its change certainly
    less than `interesting`.
    """

    def __init__(
        self, metrics: Iterable[Metric], level: float = LEVEL, most: int = 100, interesting: float = 0.01
    ) -> None:
        self.metrics = {metric.name: metric for metric in metrics}
        if not self.metrics or not 0 < level < 1 or most < 1 or interesting < 0:
            raise ValueError("A comparison wants a metric, a level between 0 and 1, and at least one pair.")
        self.level, self.most, self.interesting = level, most, interesting
        self.pairs = 0
        noisy = sum(not metric.exact for metric in self.metrics.values())
        self._shared = level / max(1, noisy)
        self._tracks = {name: _Track(metric) for name, metric in self.metrics.items()}
        self._looks = planned_looks(most)

    @staticmethod
    def order(rng: Random) -> tuple[str, str]:
        """Draw by a fair coin which side of a pair is measured first: ("a", "b") or ("b", "a"). The test relies on
        it."""
        return ("a", "b") if rng.random() < 0.5 else ("b", "a")

    def add(self, values: Mapping[str, tuple[float | None, float | None]]) -> None:
        """Add one pair of every metric, each as (A's, B's). A missing value is None, and its pair is left out.

        Raises ValueError for a number that is not finite, a metric that is not compared, or a pair too many.
        """
        if self.done:
            raise ValueError("This comparison is over.")
        for name, pair in values.items():
            if name not in self.metrics:
                raise ValueError(f"{name} is not compared here.")
            if any(value is not None and not isfinite(value) for value in pair):
                raise ValueError(f"A value of {name} is not a finite number: {pair}.")
        self.pairs += 1
        for name, track in self._tracks.items():
            a, b = values.get(name, (None, None))
            if a is not None and b is not None:
                track.values.append((float(a), float(b)))
            if track.decision is Decision.UNDECIDED:
                track.look(self._looks.get(self.pairs, 0.0), self._shared, self.interesting)

    @property
    def done(self) -> bool:
        """Whether every metric is decided, or all pairs are used."""
        settled = all(track.decision is not Decision.UNDECIDED for track in self._tracks.values())
        return settled or self.pairs >= self.most

    def judgements(self) -> dict[str, Judgement]:
        """The judgement of each metric at its latest look."""
        return {name: track.judgement(self._shared) for name, track in self._tracks.items()}


class _Track:
    """The pairs of one metric, and the result of its latest look."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.values: list[tuple[float, float]] = []
        self.decision = Decision.UNDECIDED
        self.probability = 1.0
        self._seen, self._share = 0, 0.0

    def look(self, share: float, level: float, interesting: float) -> None:
        """Judge the pairs so far. A share of 0 means no look is planned here; exact metrics need none."""
        if self.metric.exact and self.values:
            (a, b), self._seen = self.values[0], 1
            self.decision = Decision.UNCHANGED if a == b else Decision.CHANGED
            self.probability = 1.0 if a == b else 0.0
        elif share > 0 and self.values:
            self._seen, self._share = len(self.values), share
            self.probability = min(self.probability, sign_flip_test.probability(self._differences()) / share)
            if self.probability <= level:
                self.decision = Decision.CHANGED
            elif self._may_be_inside(interesting) and (bounds := self._interval()) is not None:
                inside = -interesting < bounds[0] and bounds[1] < interesting
                self.decision = Decision.UNCHANGED if inside else Decision.UNDECIDED

    def judgement(self, level: float) -> Judgement:
        if self.metric.exact:
            return self._exactly()
        differences = self._differences()
        change = self._as_change(sign_flip_test.centre(differences)) if self._seen else None
        return Judgement(
            self.metric, self.decision, change, self._interval(), self.probability, self._seen,
            self._smallest(level), self._relative,
        )  # fmt: skip

    def _exactly(self) -> Judgement:
        change = None
        if self._seen:
            a, b = self.values[0]
            change = b / a - 1 if self._relative else b - a
        bounds = None if change is None else (change, change)
        smallest = None if change is None else 0.0
        return Judgement(
            self.metric, self.decision, change, bounds, self.probability, self._seen, smallest, self._relative
        )

    @property
    def _relative(self) -> bool:
        return all(a > 0 and b > 0 for a, b in self.values)

    def _differences(self) -> list[float]:
        """The differences of all pairs at the latest look: of logarithms where every value is above 0."""
        if self._relative:
            return [log(b / a) for a, b in self.values[: self._seen]]
        return [b - a for a, b in self.values[: self._seen]]

    def _as_change(self, difference: float) -> float:
        return exp(difference) - 1 if self._relative else difference

    def _interval(self) -> tuple[float, float] | None:
        if not self._seen:
            return None
        low, high = sign_flip_test.interval(self._differences(), (1 - CONFIDENCE) * self._share)
        return (self._as_change(low), self._as_change(high)) if isfinite(low) else None

    def _may_be_inside(self, interesting: float) -> bool:
        """Whether the interval is worth computing: it is never much narrower than this estimate."""
        differences = sign_flip_test.clipped(self._differences())
        return bool(abs(differences.mean()) + 2 * differences.std() / np.sqrt(len(differences)) < interesting)

    def _smallest(self, level: float) -> float | None:
        """By the t test: the sign-flip test has the same power on normal noise of the observed size."""
        count = self._seen
        if not count or 2.0 ** (1 - count) > level * self._share:
            return None
        differences = np.asarray(self._differences())
        spread = sign_flip_test.clipped(differences - sign_flip_test.centre(differences)).std(ddof=1)
        critical = stats.t.isf(level * self._share / 2, count - 1) + stats.t.ppf(POWER, count - 1)
        return abs(self._as_change(float(critical * spread / np.sqrt(count))))
