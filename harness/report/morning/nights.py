"""Nights of a history: what was run together, and which cells were to run and did not."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Self

from harness.history.records import Judged
from harness.measure import Document, Sample
from harness.report.spans import Span, spans_of

GAP = 3 * 3600.0
"""Seconds without a record, after which another night begins."""
LONGEST = 20 * 3600.0
"""Seconds of a night at most: where something is recorded all day, this cuts it."""
RETIRED = 14
"""Nights without a result, after which a cell is no longer expected to have one."""
SMALL = 0.1
"""The share of the usual number of cells, up to which a few runs are somebody's own, and no night."""


@dataclass(frozen=True, slots=True)
class Night:
    """`began` and `ended` in seconds since 1970, and the cells that have a result."""

    began: float
    ended: float
    cells: frozenset[str]


@dataclass(frozen=True, slots=True)
class Missing:
    """A cell without a result last night, and for so many nights now."""

    cell: str
    nights: int


class Nights:
    """The nights of a history, old first; none where nothing was recorded."""

    def __init__(self, rows: Iterable[Sample | Judged | Document]) -> None:
        self._find(spans_of(row for row in rows if not isinstance(row, Document)))

    @classmethod
    def of(cls, spans: Iterable[Span]) -> Self:
        """The nights of what was measured and judged in these spans."""
        made = cls(())
        made._find(spans)
        return made

    def _find(self, recorded: Iterable[Span]) -> None:
        spans = _spans(recorded)
        usual = median(len(one.cells) for one in spans[-RETIRED:]) if spans else 0
        least = max(2, usual * SMALL) if usual > 2 else 1
        self.every: Sequence[Night] = [one for one in spans if len(one.cells) >= least]
        self._begins = [one.began for one in self.every]

    def number(self, taken: float) -> int:
        """The night in which, or after which, something was recorded; -1 before the first."""
        # What belongs to a night may bear the moment at which its run began.
        return bisect_right(self._begins, taken + GAP / 2) - 1

    def within(self, number: int) -> tuple[float, float]:
        """From when until before when what is recorded is of that night: seconds since 1970."""
        if not 0 <= number <= self.last:
            return float("inf"), float("inf")
        until = self._begins[number + 1] - GAP / 2 if number < self.last else float("inf")
        return self._begins[number] - GAP / 2, until

    @property
    def last(self) -> int:
        """The number of the last night, -1 if there is none."""
        return len(self.every) - 1

    def missing(self) -> list[Missing]:
        """The cells that had results in the nights before the last one, and none in that."""
        if self.last < 1:
            return []
        seen: dict[str, int] = {}
        for number in range(max(0, self.last - RETIRED), self.last):
            seen |= dict.fromkeys(self.every[number].cells, number)
        often = Counter(cell for one in self.every[max(0, self.last - RETIRED) : self.last] for cell in one.cells)
        tonight = self.every[-1].cells
        # Once may be somebody's own run; whatever ran in the very night before was meant to.
        silent = [cell for cell in seen if cell not in tonight]
        wanted = [cell for cell in silent if often[cell] > 1 or seen[cell] == self.last - 1]
        return sorted((Missing(cell, self.last - seen[cell]) for cell in wanted), key=lambda one: one.cell)


def _spans(recorded: Iterable[Span]) -> list[Night]:
    """What was recorded with no long gap in between."""
    cells: list[set[str]] = []
    began = ended = float("-inf")
    bounds: list[tuple[float, float]] = []
    for one in sorted(recorded, key=lambda span: (span.first, span.last, span.cell)):
        if one.first - ended > GAP or one.last - began > LONGEST:
            began, ended = one.first, one.last
            bounds.append((began, ended))
            cells.append(set())
        ended = max(ended, one.last)
        bounds[-1] = (began, ended)
        cells[-1].add(one.cell)
    return [Night(first, last, frozenset(found)) for (first, last), found in zip(bounds, cells, strict=True)]
