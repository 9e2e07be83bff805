"""Phrases of the morning report that the page, the terminal and Markdown share."""

from collections.abc import Sequence

from harness.report.model.formatting import percent
from harness.report.morning.classification import RECENT
from harness.report.morning.rates import PatternKind
from harness.report.morning.tests import CellRuns, Group

GOOD, BAD, NONE = "▁", "█", "·"
"""The signs of a strip of nights; they differ in shape, not in colour alone."""


def short(cell: str) -> str:
    """The cell without what nearly all cells have in common: `x86_64-qemu-zfs` for `osv:x86_64-qemu-zfs-all`."""
    name = cell.removeprefix("osv:")
    return name.removesuffix("-all") if cell.startswith("osv:") else name


def cells_words(cells: Sequence[str], most: int = 5) -> str:
    """The names of the first `most` cells, and how many more there are."""
    more = len(cells) - most
    return ", ".join(map(short, cells[:most])) + (f" and {more} more" if more > 0 else "")


def number(count: int, singular: str, many: str = "") -> str:
    """The count with its noun: `1 cell`, `3 cells`."""
    return f"{count:,} {singular if count == 1 else many or singular + 's'}"


def kind_words(group: Group, last: int) -> str:
    """Whether the test is broken or flaky, and how that is known. `last` is the number of the last night."""
    nights = last - group.began + 1
    if not any(one.good_before for one in group.cells):
        return f"never seen to pass; {number(nights, 'night')}"
    if group.since and group.since[0].commit == group.since[1].commit:
        return "the same version passed the night before: not this commit's doing, so flaky, or the host's"
    if group.kind is PatternKind.BROKEN:
        return f"broken: every run since failed, {number(nights, 'night')}"
    if group.kind is PatternKind.FLAKY:
        return "flaky"
    runs = f"{group.bad} of {group.runs} runs since failed"
    return f"broken or flaky: too few runs tell ({runs})"


def rate_words(group: Group) -> str:
    """How often the test fails: `fails 17% of the time (95% interval 11% to 24%)`."""
    low, high = group.interval
    return f"fails {group.rate:.0%} of the time (95% interval {low:.0%} to {high:.0%})"


def strip(cell_runs: CellRuns, last: int) -> list[tuple[str, str]]:
    """The recent nights of a test on one cell, as (signs, class) for each stretch of equal nights; the class is
    `good`, `bad` or `quiet`."""
    first = max(0, last - RECENT + 1)
    signs = [(NONE, "quiet")] * (last - first + 1)
    for run in cell_runs.runs:
        if run.night >= first and signs[run.night - first][0] != BAD:
            signs[run.night - first] = (BAD, "bad") if run.bad else (GOOD, "good")
    grouped: list[tuple[str, str]] = []
    for sign, how in signs:
        if grouped and grouped[-1][1] == how:
            grouped[-1] = grouped[-1][0] + sign, how
        else:
            grouped.append((sign, how))
    return grouped


def change_words(change: float, low: float, high: float) -> str:
    """The relative change as `+2.8%`, or as `+2.1% to +2.9%` if the cells differ."""
    if percent(low) == percent(high) or abs(high - low) < 0.1 * abs(change):
        return percent(change)
    ends = sorted((low, high), key=abs)
    return f"{percent(ends[0])} to {percent(ends[1])}"
