"""Judges a test by its runs on several cells together, where those of each cell are too few to tell."""

from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise

from harness.report.morning.rates import PatternKind, failure_pattern
from harness.report.morning.tests import CellRuns


def mended(found: Sequence[CellRuns]) -> list[CellRuns]:
    """The cells that failed in the same nights, each run of one row of nights, and pass since. So many failures at
    once make the test broken and fixed, where those of one cell alone would make it flaky."""
    by_nights: dict[tuple[int, int], list[CellRuns]] = defaultdict(list)
    for one in found:
        bad = [place for place, run in enumerate(one.runs) if run.bad]
        if bad and not one.last.bad and len(bad) == bad[-1] - bad[0] + 1:
            by_nights[one.runs[bad[0]].night, one.runs[bad[-1]].night].append(one)
    found_mended: list[CellRuns] = []
    for (first, end), cells in by_nights.items():
        well = sum(run.night < first for run in cells[0].runs)
        failures = sum(run.bad for one in cells for run in one.runs)
        together = failure_pattern([False] * well + [True] * failures)
        if first < end and len(cells) > 1 and together.kind is PatternKind.BROKEN:
            found_mended += cells
    return found_mended


def scattered(found: Sequence[CellRuns], failing: Sequence[CellRuns], since: int) -> list[CellRuns]:
    """The cells that each failed too seldom to be flaky, if all of them together are; else none."""
    rare = [
        one for one in found
        if one not in failing and any(run.bad and run.night >= since for run in one.runs)
        and one.pattern.kind is PatternKind.WELL and one.pattern.before is not PatternKind.BROKEN
    ]  # fmt: skip
    if len(rare) < 2:
        return []
    together = sorted((run.night, one.cell, run.bad) for one in rare for run in one.runs)
    nights = sorted({night for night, _, bad in together if bad})
    apart = any(later > earlier + 1 for earlier, later in pairwise(nights))
    return rare if apart and failure_pattern([bad for *_, bad in together]).kind is PatternKind.FLAKY else []
