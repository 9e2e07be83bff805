"""Finds the cells that boot or run next to nothing: they are broken as a whole, and not their tests."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from itertools import pairwise

from harness.metrics.history.records import VerdictRecord
from harness.metrics.history.verdict_table import VerdictTable
from harness.report.morning.nights import Nights
from harness.report.morning.tests import BrokenCell

MOST_OF_A_CELL, FEWEST_OF_A_CELL = 0.5, 4
"""If at least this share of a cell's tests fail in one night, and at least so many, the cell itself is broken."""



def broken_nights(
    odd: Iterable[tuple[int, VerdictRecord]], judged: VerdictTable, nights: Nights
) -> dict[tuple[str, int], str]:
    """The cells and nights in which most tests of the cell failed, each with the most frequent reason."""
    bad: dict[tuple[str, int], list[VerdictRecord]] = defaultdict(list)
    for night, verdict in odd:
        if not verdict.expected and verdict.outcome not in ("skipped", "passed", "flaky"):
            bad[verdict.cell, night].append(verdict)
    many = {where: found for where, found in bad.items() if len(found) >= FEWEST_OF_A_CELL}
    if not many:
        return {}
    cells = {cell for cell, _ in many}
    run = judged.where(lambda kind: kind.cell in cells and kind.outcome not in ("skipped", "reused"))
    ran = Counter((one.cell, nights.number(one.taken)) for one in run)
    return {
        where: Counter(f"{one.outcome}: {one.reason}" for one in found).most_common(1)[0][0]
        for where, found in many.items()
        if len(found) >= MOST_OF_A_CELL * ran[where]
    }


def broken_cells(broken: Mapping[tuple[str, int], str], nights: Nights) -> list[BrokenCell]:
    """The cells that were broken last night, and since when: nights without a result of the cell say nothing."""
    found = []
    for cell in sorted(cell for cell, night in broken if night == nights.last):
        ran = [night for night in range(nights.last + 1) if cell in nights.every[night].cells]
        began = next((later for one, later in reversed([*pairwise(ran)]) if (cell, one) not in broken), ran[0])
        found.append(BrokenCell(cell, broken[cell, nights.last], began))
    return found
