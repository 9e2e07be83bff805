"""Nights of a history: what was run together, and which cells were to run and did not."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import Self

import numpy as np

from harness.metrics.history.records import Judged
from harness.metrics.records import Document, Sample
from harness.report.model.spans import PLAN, Span, spans_of

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
    """A cell without a result last night, and for so many nights now; `never` is whether it was planned, and never
    had one."""

    cell: str
    nights: int
    never: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What was to run on the cells of one arch, as of a moment in seconds since 1970."""

    taken: float
    arch: str
    cells: frozenset[str]


def plans_of(documents: Iterable[Document]) -> list[Plan]:
    """The plans among the documents, whose texts are safe; one of another form is passed over."""
    found = []
    for one in documents:
        if one.kind == PLAN:
            with suppress(KeyError, TypeError):
                found.append(Plan(one.taken, one.subject, frozenset(map(str, one.body["cells"]))))
    return found


class Nights:
    """The nights of a history, old first; none where nothing was recorded."""

    def __init__(self, rows: Iterable[Sample | Judged | Document]) -> None:
        self._find(spans_of(row for row in rows if not isinstance(row, Document)))

    @classmethod
    def of(cls, spans: Iterable[Span], plans: Sequence[Plan] = ()) -> Self:
        """The nights of what was measured and judged in these spans; one that was planned and of which nothing
        came is a night, too."""
        made = cls(())
        made._find(spans, plans)
        return made

    def _find(self, recorded: Iterable[Span], plans: Sequence[Plan] = ()) -> None:
        spans = _spans(recorded)
        usual = median(len(one.cells) for one in spans[-RETIRED:]) if spans else 0
        least = max(2, usual * SMALL) if usual > 2 else 1
        self.every: list[Night] = [one for one in spans if len(one.cells) >= least]
        ended = self.every[-1].ended if self.every else float("-inf")
        if late := [one.taken for one in plans if one.taken > ended]:
            self.every.append(Night(min(late), max(late), frozenset()))
        before = self.every[-2].ended if len(self.every) > 1 else float("-inf")
        self._plans = [one for one in plans if one.taken > before]
        self._begins = [one.began for one in self.every]
        self._all_begins = np.array(self._begins, dtype=float)

    def number(self, taken: float) -> int:
        """The night in which, or after which, something was recorded; -1 before the first."""
        # What belongs to a night may bear the moment at which its run began.
        return bisect_right(self._begins, taken + GAP / 2) - 1

    def numbers(self, taken: Iterable[float]) -> list[int]:
        """The same of many."""
        moments = np.fromiter(taken, dtype=float) + GAP / 2
        found: list[int] = (np.searchsorted(self._all_begins, moments, side="right") - 1).tolist()
        return found

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
        """The cells that were planned and have no result of the last night; where no plan is known, those that had
        results in the nights before it."""
        if self.last < 1 and not self._plans:
            return []
        seen: dict[str, int] = {}
        for number in range(max(0, self.last - RETIRED), self.last):
            seen |= dict.fromkeys(self.every[number].cells, number)
        often = Counter(cell for one in self.every[max(0, self.last - RETIRED) : self.last] for cell in one.cells)
        tonight = self.every[-1].cells
        # Once may be somebody's own run; whatever ran in the very night before was meant to.
        silent = [cell for cell in seen if cell not in tonight and not self._is_planned_for(cell)]
        wanted = {cell for cell in silent if often[cell] > 1 or seen[cell] == self.last - 1}
        wanted |= {cell for plan in self._plans for cell in plan.cells} - tonight
        return [
            Missing(cell, self.last - seen.get(cell, self.last - 1), never=cell not in seen)
            for cell in sorted(wanted)
        ]

    def _is_planned_for(self, cell: str) -> bool:
        """Whether a plan of last night says of the cell's arch what was to run."""
        arch = cell.partition(":")[2].partition("-")[0]
        return any(plan.arch == arch for plan in self._plans)


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
