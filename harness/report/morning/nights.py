"""Nights of a history: what was run together, and which cells were to run and did not."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from harness.history.records import Judged
from harness.measure import Document, Sample

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
        spans = _spans([row for row in rows if not isinstance(row, Document)])
        usual = median(len(one.cells) for one in spans[-RETIRED:]) if spans else 0
        least = max(2, usual * SMALL) if usual > 2 else 1
        self.every: Sequence[Night] = [one for one in spans if len(one.cells) >= least]
        self._begins = [one.began for one in self.every]

    def number(self, taken: float) -> int:
        """The night in which, or after which, something was recorded; -1 before the first."""
        # What belongs to a night may bear the moment at which its run began.
        return bisect_right(self._begins, taken + GAP / 2) - 1

    def numbers(self, rows: Iterable[Sample | Judged | Document]) -> list[int]:
        """The number of the night of each row: `number` of when it was taken."""
        moments = np.array([row.taken for row in rows], dtype=float) + GAP / 2
        found: list[int] = (np.searchsorted(self._begins, moments, side="right") - 1).tolist()
        return found

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


def _spans(rows: Sequence[Sample | Judged]) -> list[Night]:
    """What was recorded with no long gap in between."""
    moments = np.array([row.taken for row in rows], dtype=float)
    order = np.argsort(moments, kind="stable")
    moments = moments[order]
    names = {cell: number for number, cell in enumerate(dict.fromkeys(row.cell for row in rows))}
    cells, of = list(names), np.array([names[row.cell] for row in rows], dtype=np.int64)[order]
    gaps = np.flatnonzero(np.diff(moments) > GAP) + 1
    found: list[Night] = []
    start = 0
    while start < len(moments):
        gap = int(np.searchsorted(gaps, start, side="right"))
        end = int(gaps[gap]) if gap < len(gaps) else len(moments)
        end = start + int(np.searchsorted(moments[start:end] - moments[start], LONGEST, side="right"))
        inside = frozenset(cells[number] for number in np.unique(of[start:end]))
        found.append(Night(float(moments[start]), float(moments[end - 1]), inside))
        start = end
    return found
