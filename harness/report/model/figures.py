"""Figures as plain numbers and words, from which the page draws, tabulates and saves them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any

from harness.report.model.formatting import Scale, scale

MOST_LINES = 10
"""The most lines of one figure: more could not be distinguished."""


class Kind(StrEnum):
    """How a figure is drawn, and what its x axis is."""

    TREND = "trend"  # x: places among the figure's versions
    STACK = "stack"  # the same, as bars of parts
    CURVE = "curve"  # x: nines of a percentile; y: logarithmic
    SECONDS = "seconds"  # x: seconds since a load began


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a figure: `x` and `y` of equal length.

    Where a point stands for several numbers, `low` and `high` are their range and `counts` how many they are.
    `colour` is the number of the line's colour, the same in every figure, or -1.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    counts: Sequence[int] = ()
    colour: int = -1


@dataclass(frozen=True, slots=True)
class Mark:
    """A finding marked on a line at `x`: its text, and whether the change is for the worse."""

    line: int
    x: int
    words: str
    worse: bool


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure.

    - `about` is what it is of: a cell, or a load. `metric` is the drawn metric, if it is a single one, and `cells`
      are those on which it was measured.
    - `unit` is that of every y, and `better` the direction in which the metric improves.
    - `versions` are the numbers of a timeline to which x refers, in order.
    - `note` says what was left out.
    """

    kind: Kind
    group: str
    title: str
    about: str
    unit: str
    lines: Sequence[Line]
    versions: Sequence[int] = ()
    marks: Sequence[Mark] = ()
    better: str = ""
    note: str = ""
    metric: str = ""
    cells: Sequence[str] = ()
    id: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", anchor("figure", self.kind, self.title, self.about))

    @property
    def scale(self) -> Scale:
        """The scale by which its numbers are shown."""
        heights: Iterable[float] = (value for line in self.lines for value in (*line.y, *line.high))
        if self.kind is Kind.STACK:
            heights = _sums(self.lines)
        return scale(self.unit, max((abs(value) for value in heights if math.isfinite(value)), default=0.0))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values. Numbers are in the metric's own unit, with the divisor by which they are shown."""
        shown = self.scale
        return {
            "id": self.id, "kind": self.kind, "title": self.title, "about": self.about, "unit": self.unit,
            "divisor": shown.divisor, "shown": shown.unit, "versions": list(self.versions), "better": self.better,
            "note": self.note, "metric": self.metric,
            "lines": [
                {
                    "name": line.name, "x": list(line.x), "y": _numbers(line.y),
                    "low": _numbers(line.low), "high": _numbers(line.high), "counts": list(line.counts),
                    "colour": line.colour,
                }
                for line in self.lines
            ],
            "marks": [
                {"line": mark.line, "x": mark.x, "words": mark.words, "worse": mark.worse} for mark in self.marks
            ],
        }  # fmt: skip


def anchor(*words: str) -> str:
    """A name for a link's target: the same in every report, and it does not reveal what it is made from."""
    return f"{words[0]}-{sha256('|'.join(words[1:]).encode()).hexdigest()[:12]}"


def _sums(lines: Sequence[Line]) -> list[float]:
    sums: dict[float, float] = {}
    for line in lines:
        for x, y in zip(line.x, line.y, strict=True):
            sums[x] = sums.get(x, 0.0) + y
    return list(sums.values())


def _numbers(values: Sequence[float]) -> list[float | None]:
    """The values as JSON has them: None for NaN, counts as integers, and others with seven digits."""
    return [_number(value) if math.isfinite(value) else None for value in values]


def _number(value: float) -> float:
    return int(value) if float(value).is_integer() else float(f"{value:.7g}")
