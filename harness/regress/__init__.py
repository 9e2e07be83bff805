"""Whether numbers have changed: comparisons, change points, findings; numbers in, judgements out."""

from dataclasses import asdict, dataclass
from typing import Any

from harness.measure import Metric, Version


@dataclass(frozen=True, slots=True)
class Finding:
    """A change that the statistics stand behind.

    `before` is the last version at the old level, `after` the first at the new one; `change` is relative to the
    old level (0.02 is 2% more) with its interval; `probability` is that of so great a change in a quiet series;
    `confirmed` is what a rerun said, or None where there was none; findings of one `cause` (the same step in other
    metrics and cells) share its number. `span` is wider than `before` and `after`: the step surely lies between
    its two versions, and they are what a rerun or a bisection should compare.
    """

    metric: Metric
    cell: str
    subject: str
    before: Version
    after: Version
    old_level: float
    new_level: float
    change: float
    interval: tuple[float, float]
    probability: float
    samples: tuple[int, int]
    cause: int = 0
    confirmed: bool | None = None
    span: tuple[Version, Version] | None = None

    @property
    def worse(self) -> bool:
        """Whether the metric moved against what is better."""
        return (self.change > 0) == (self.metric.better == "lower")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)
