"""Condenses a million records to some thousand spans of time: when something was recorded for each cell and
version."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

import numpy as np

from harness.metrics.history.records import VerdictRecord
from harness.metrics.history.verdict_table import Numbering, VerdictTable
from harness.metrics.records import Document, Sample, Version

HOUR = 3600.0

PLAN = "plan"
"""The kind of documents that say what was planned for a night; they have no cell and no version."""


@dataclass(slots=True)
class Span:
    """What was recorded of a cell's version within an hour: the first and last moment, in seconds since 1970."""

    cell: str
    version: Version
    first: float
    last: float


def spans_of(rows: Iterable[Sample | VerdictRecord | Document]) -> list[Span]:
    """The spans of all records, in no order. Versions that differ only in image and builder are one."""
    found: dict[tuple[str, str, str, float], Span] = {}
    # What was taken together mostly stands together.
    cell, before, hour, known = "", None, 0.0, None
    for row in rows:
        version, taken = row.version, row.taken
        if known is None or version is not before or row.cell is not cell or taken // HOUR != hour:
            cell, before, hour = row.cell, version, taken // HOUR
            key = cell, version.commit, version.described, hour
            known = found.get(key)
            if known is None:
                known = found[key] = Span(cell, version, taken, taken)
            elif version is not known.version and version.committed > known.version.committed:
                known.version = version
        if taken < known.first:
            known.first = taken
        elif taken > known.last:
            known.last = taken
    return list(found.values())


def recorded_spans(samples: Iterable[Sample], verdicts: VerdictTable) -> list[Span]:
    """The spans of all samples and verdicts."""
    return spans_of(chain(samples, _ends(verdicts)))


def _ends(verdicts: VerdictTable) -> VerdictTable:
    """The first and the last of the verdicts that stand in a row for a cell, a version and an hour: they have the
    spans of all."""
    verdicts = verdicts.by_time()
    cells = Numbering()
    of_kind = np.array([cells[kind.cell] for kind in verdicts.kinds], np.intp)
    cell = of_kind[verdicts.rows["kind"]]
    order = np.argsort(cell, kind="stable")
    rows, cell = verdicts.rows[order], cell[order]
    hour = rows["taken"] // HOUR
    same = (cell[1:] == cell[:-1]) & (rows["version"][1:] == rows["version"][:-1]) & (hour[1:] == hour[:-1])
    inside = np.zeros(len(rows), bool)
    inside[1:-1] = same[:-1] & same[1:]
    return verdicts.take(np.sort(order[~inside]))
