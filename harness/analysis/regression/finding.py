"""A change that the statistics stand behind, and a night that differs from those around it."""

from dataclasses import asdict, dataclass
from math import floor, log10
from time import gmtime, strftime
from typing import Any

from harness.metrics.records import Metric, Version


@dataclass(frozen=True, slots=True)
class Finding:
    """A change that the statistics stand behind.

    - `before` is the last version at the old level, `after` the first at the new one. The step surely lies between
      the two versions of `span`, which is wider: a rerun or a bisection should compare these.
    - `change` is relative to the old level (0.02 is 2% more), with its 95% `interval`.
    - `probability` is that of so great a change in a quiet series.
    - `samples` counts the samples before and after the step.
    - `confirmed` is the result of a rerun, None without one.
    - `cause` is the same number for findings that one commit may explain: the same step in other metrics and
      cells.
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
        """Whether the metric changed for the worse."""
        return (self.change > 0) == (self.metric.better == "lower")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class OutlierNight:
    """A night, or a few, whose number differs from those before and after it. It is no change of the kernel.

    - `version` was measured at `taken` (seconds since 1970) as `value`; the nights around have `level`.
    - `alone` is whether the nights after it show that it went away.
    - `beside` is a version at the level, with which a rerun compares `version`.
    - `confirmed` is the result of that rerun: whether the version has the number every time. None without a rerun.
    - `wait` is how many more nights decide whether it is a step that stays, or 0.
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
        """The night in words: `night of 2026-11-20: 1.4 times, alone`."""
        return f"{self.day}: {self._much}, {self.standing}"

    @property
    def day(self) -> str:
        """The date in words: `night of 2026-11-20`."""
        day = strftime("%Y-%m-%d", gmtime(self.taken))
        return f"night of {day}" if self.nights == 1 else f"{self.nights} nights from {day}"

    @property
    def standing(self) -> str:
        """Whether the night is alone, and what a rerun found, in words."""
        rerun = {None: "", True: "; so is its rerun", False: "; its rerun is not"}[self.confirmed]
        return f"{'alone' if self.alone else 'alone so far'}{rerun}"

    @property
    def suspect(self) -> Finding:
        """The finding that a rerun would have to confirm: that the number is the version's, not the night's."""
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
        """Plain JSON values. A key that a finding has, too, means the same in both."""
        about = {"metric": asdict(self.metric), "cell": self.cell, "subject": self.subject}
        row = {name: getattr(self, name) for name in ("taken", "nights", "value", "level", "alone", "confirmed")}
        times = self.value / self.level if self.level else None
        return {"night": self.words, **about, "version": asdict(self.version), "times": times, **row}
