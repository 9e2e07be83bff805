"""Compares two harnesses that measured the same kernel: their exact numbers must be equal."""

from collections.abc import Sequence
from dataclasses import dataclass

from harness.core.errors import HarnessError
from harness.metrics.records import Metric, Sample


@dataclass(frozen=True, slots=True)
class Difference:
    """An exact number that one harness measured as `a` and the other as `b`."""

    metric: Metric
    cell: str
    subject: str
    a: float
    b: float

    @property
    def worse(self) -> bool:
        """Whether `b` is worse than `a`."""
        return (self.b > self.a) == (self.metric.better == "lower")


def differences(a: Sequence[Sample], b: Sequence[Sample]) -> tuple[int, list[Difference]]:
    """The number of exact numbers that both have, by their last samples, and those of them that differ.

    Raises `HarnessError` if they have none in common: that proves nothing.
    """
    ours, theirs = _last(a), _last(b)
    common = ours.keys() & theirs.keys()
    if not common:
        raise HarnessError("The two histories have no exact number in common.", "Measure the same cell for both.")
    pairs = [(ours[name], theirs[name]) for name in sorted(common)]
    found = [Difference(x.metric, x.cell, x.subject, x.value, y.value) for x, y in pairs if x.value != y.value]
    return len(common), found


def _last(samples: Sequence[Sample]) -> dict[tuple[str, ...], Sample]:
    exact = [one for one in samples if one.metric.exact]
    return {one.series: one for one in sorted(exact, key=lambda one: one.taken)}
