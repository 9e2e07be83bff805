"""Divides a history into nights, and finds the cells that should have run in the last one and did not."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from math import nextafter
from statistics import median
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from harness.metrics.history.records import VerdictRecord
from harness.metrics.records import Document, Sample
from harness.report.model.spans import PLAN, Span, spans_of

GAP = 3 * 3600.0
"""A pause without records of more than this many seconds ends a night. The next plan for one of its arches does so
without a pause: a night after each commit."""
LONGEST = 20 * 3600.0
"""The most seconds that one night lasts: cuts a history that is recorded to all day."""
RETIRED = 14
"""After this many nights without a result, a cell is no longer expected to have one."""
SMALL = 0.1
"""Runs on fewer than this share of the usual number of cells are somebody's own, not a night."""


@dataclass(frozen=True, slots=True)
class Night:
    """One night: when it `began` and `ended`, in seconds since 1970, and the cells that have a result."""

    began: float
    ended: float
    cells: frozenset[str]


@dataclass(frozen=True, slots=True)
class MissingCell:
    """A cell that has no result of the last night. Its latest result is `nights` nights old; `never` is whether
    it was planned and never had one."""

    cell: str
    nights: int
    never: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """The cells of one arch that were to run, as planned at the time `taken`, in seconds since 1970."""

    taken: float
    arch: str
    cells: frozenset[str]


def plans_of(documents: Iterable[Document]) -> list[Plan]:
    """The plans among the documents, whose texts must be safe. Skips those of another format."""
    found = []
    for document in documents:
        if document.kind == PLAN:
            with suppress(KeyError, TypeError):
                found.append(Plan(document.taken, document.subject, frozenset(map(str, document.body["cells"]))))
    return found


class Nights:
    """The nights of a history, oldest first."""

    def __init__(self, rows: Iterable[Sample | VerdictRecord], plans: Sequence[Plan] = ()) -> None:
        self._find(spans_of(rows), plans)

    @classmethod
    def of(cls, spans: Iterable[Span], plans: Sequence[Plan] = ()) -> Self:
        """The nights of these spans and plans. A plan after the last result is a night, too: one without
        results."""
        made = cls(())
        made._find(spans, plans)
        return made

    def _find(self, recorded: Iterable[Span], plans: Sequence[Plan] = ()) -> None:
        spans = _spans(recorded, plans)
        usual = median(len(one.cells) for one in spans[-RETIRED:]) if spans else 0
        least = max(2, usual * SMALL) if usual > 2 else 1
        self.every: list[Night] = [one for one in spans if len(one.cells) >= least]
        ended = self.every[-1].ended if self.every else float("-inf")
        if late := [one.taken for one in plans if one.taken > ended]:
            self.every.append(Night(min(late), max(late), frozenset()))
        before = self.every[-2].ended if len(self.every) > 1 else float("-inf")
        self._plans = [one for one in plans if one.taken > before]
        # What belongs to a night may bear the moment at which its run began.
        ends = [float("-inf"), *(one.ended for one in self.every)]
        self._begins = [
            max(one.began - GAP / 2, (one.began + end) / 2) for one, end in zip(self.every, ends, strict=False)
        ]
        self._all_begins = np.array(self._begins, dtype=float)

    def number(self, taken: float) -> int:
        """The number of the night in which something was recorded, or of the last one before; -1 before the
        first night."""
        return bisect_right(self._begins, taken) - 1

    def numbers(self, taken: ArrayLike) -> list[int]:
        """As `number`, for many moments at once."""
        found: list[int] = (np.searchsorted(self._all_begins, np.asarray(taken), side="right") - 1).tolist()
        return found

    def within(self, number: int) -> tuple[float, float]:
        """The start and the end of a night, in seconds since 1970: what is recorded from the start on and
        before the end belongs to it."""
        if not 0 <= number <= self.last:
            return float("inf"), float("inf")
        return self._begins[number], self._begins[number + 1] if number < self.last else float("inf")

    @property
    def last(self) -> int:
        """The number of the last night; -1 if there is none."""
        return len(self.every) - 1

    def missing(self) -> list[MissingCell]:
        """The cells without a result of the last night: those that were planned, and, for arches without a
        plan, those that usually had results."""
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
            MissingCell(cell, self.last - seen.get(cell, self.last - 1), never=cell not in seen)
            for cell in sorted(wanted)
        ]

    def _is_planned_for(self, cell: str) -> bool:
        """Whether last night had a plan for the cell's arch."""
        arch = cell.partition(":")[2].partition("-")[0]
        return any(plan.arch == arch for plan in self._plans)


def _spans(recorded: Iterable[Span], plans: Sequence[Plan]) -> list[Night]:
    """Group what was recorded into nights, wherever there is a pause of more than `GAP`, the next night was
    planned, or a night gets too long."""
    ordered = sorted(recorded, key=lambda span: (span.first, span.last, span.cell))
    starts = _planned_starts(plans, [span.first for span in ordered])
    cells: list[set[str]] = []
    began = ended = float("-inf")
    bounds: list[tuple[float, float]] = []
    for first, last, cell in sorted(_split(ordered, starts)):
        planned = bisect_right(starts, first) != bisect_right(starts, began)
        if first - ended > GAP or last - began > LONGEST or planned:
            began, ended = first, last
            bounds.append((began, ended))
            cells.append(set())
        ended = max(ended, last)
        bounds[-1] = (began, ended)
        cells[-1].add(cell)
    return [Night(first, last, frozenset(found)) for (first, last), found in zip(bounds, cells, strict=True)]


def _planned_starts(plans: Sequence[Plan], firsts: Sequence[float]) -> list[float]:
    """The moments at which a planned night begins: with the first plan for an arch that the night before had
    planned for, too, and had results since. `firsts` are the moments of results, sorted."""
    starts: list[float] = []
    arches: set[str] = set()
    for plan in sorted(plans, key=lambda plan: plan.taken):
        if plan.arch in arches and bisect_right(firsts, plan.taken) > bisect_right(firsts, starts[-1]):
            arches.clear()
        if not arches:
            starts.append(plan.taken)
        arches.add(plan.arch)
    return starts


def _split(spans: Iterable[Span], starts: Sequence[float]) -> Iterator[tuple[float, float, str]]:
    """The first and last moment of each span and its cell; a span in which a night begins is told as two."""
    for span in spans:
        within = starts[bisect_right(starts, span.first) : bisect_right(starts, span.last)]
        edges = [span.first, *within, span.last]
        for number, (first, last) in enumerate(pairwise(edges)):
            yield first, last if number == len(within) else nextafter(last, first), span.cell
