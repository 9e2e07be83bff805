"""Whether numbers have changed: comparisons, change points and findings."""

from dataclasses import asdict, dataclass
from math import floor, log10
from time import gmtime, strftime
from typing import Any

from harness.metrics.records import Metric, Version


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


@dataclass(frozen=True, slots=True)
class OutlierNight:
    """One night, or a few, whose number sticks out over those before and after it: no change of the kernel.

    `version` was measured at `taken` (seconds since 1970) as `value`, where those around have `level`. `alone` is
    whether the nights after it show that it went away; `beside` is a version at the level, which a rerun compares
    `version` with; `confirmed` is what it said: whether the version has that number every time. `wait` is how many
    more nights decide whether it is a step that stays, or 0.
    """

    metric: Metric
    cell: str
    subject: str
    version: Version
    taken: float
    nights: int
    value: float
    level: float
    change: float
    alone: bool
    beside: Version
    confirmed: bool | None = None
    wait: int = 0

    @property
    def words(self) -> str:
        """`night of 2026-11-20: 1.4 times, alone`."""
        return f"{self.day}: {self._much}, {self.standing}"

    @property
    def day(self) -> str:
        """`night of 2026-11-20`."""
        day = strftime("%Y-%m-%d", gmtime(self.taken))
        return f"night of {day}" if self.nights == 1 else f"{self.nights} nights from {day}"

    @property
    def standing(self) -> str:
        """`alone`, and what a rerun said."""
        rerun = {None: "", True: "; so is its rerun", False: "; its rerun is not"}[self.confirmed]
        return f"{'alone' if self.alone else 'alone so far'}{rerun}"

    @property
    def suspect(self) -> Finding:
        """What a rerun would have to confirm: that the number is the version's and not the night's."""
        sure = (self.change, self.change)
        return Finding(
            self.metric, self.cell, self.subject, self.beside, self.version, self.level, self.value, self.change,
            sure, 1.0, (1, self.nights), span=(self.beside, self.version),
        )  # fmt: skip

    @property
    def _much(self) -> str:
        if not self.level:
            return f"{self.value:g} and not 0"
        times = self.value / self.level
        return f"{round(times, max(0, -floor(log10(abs(times - 1) or 1)))):.12g} times"

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; nothing in it is named as in a finding's, but what is the same."""
        about = {"metric": asdict(self.metric), "cell": self.cell, "subject": self.subject}
        row = {name: getattr(self, name) for name in ("taken", "nights", "value", "level", "alone", "confirmed")}
        times = self.value / self.level if self.level else None
        return {"night": self.words, **about, "version": asdict(self.version), "times": times, **row}
