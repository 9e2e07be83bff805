"""Divides a history into nights, and finds the cells that should have run in the last one and did not."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import Self

from harness.metrics.history.records import VerdictRecord
from harness.metrics.records import Document, Sample
from harness.report.model.spans import PLAN, Span, spans_of

GAP = 3 * 3600.0
"""A pause without records of more than this many seconds ends a night."""
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

    def __init__(self, rows: Iterable[Sample | VerdictRecord | Document]) -> None:
        self._find(spans_of(row for row in rows if not isinstance(row, Document)))

    @classmethod
    def of(cls, spans: Iterable[Span], plans: Sequence[Plan] = ()) -> Self:
        """The nights of these spans and plans. A plan after the last result is a night, too: one without
        results."""
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

    def number(self, taken: float) -> int:
        """The number of the night in which something was recorded, or of the last one before; -1 before the
        first night."""
        # What belongs to a night may bear the moment at which its run began.
        return bisect_right(self._begins, taken + GAP / 2) - 1

    def numbers(self, taken: Iterable[float]) -> list[int]:
        """As `number`, for many moments at once."""
        begins, early = self._begins, GAP / 2
        return [bisect_right(begins, one + early) - 1 for one in taken]

    def within(self, number: int) -> tuple[float, float]:
        """The start and the end of a night, in seconds since 1970: what is recorded from the start on and
        before the end belongs to it."""
        if not 0 <= number <= self.last:
            return float("inf"), float("inf")
        until = self._begins[number + 1] - GAP / 2 if number < self.last else float("inf")
        return self._begins[number] - GAP / 2, until

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


def _spans(recorded: Iterable[Span]) -> list[Night]:
    """Group what was recorded into nights, wherever there is a pause of more than `GAP` or a night gets too
    long."""
    cells: list[set[str]] = []
    began = ended = float("-inf")
    bounds: list[tuple[float, float]] = []
    for recorded_span in sorted(recorded, key=lambda span: (span.first, span.last, span.cell)):
        if recorded_span.first - ended > GAP or recorded_span.last - began > LONGEST:
            began, ended = recorded_span.first, recorded_span.last
            bounds.append((began, ended))
            cells.append(set())
        ended = max(ended, recorded_span.last)
        bounds[-1] = (began, ended)
        cells[-1].add(recorded_span.cell)
    return [Night(first, last, frozenset(found)) for (first, last), found in zip(bounds, cells, strict=True)]
