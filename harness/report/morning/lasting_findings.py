"""Which steps of a history still stand: what undid one, and what only made up for it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from harness.analysis.regression.finding import Finding

LEFT = 0.25
"""A step of which no more than this share is left was undone."""
BEYOND = 0.5
"""A level further back than the whole step and this share of it is another change's, which made up for it."""
MOST_OF_IT = 0.5
"""The share of a step that its parts must explain to speak for it."""

Series = tuple[str, str, str]


def lasting_findings(findings: Sequence[Finding]) -> list[Finding]:
    """Those, given by time, that were not undone since, and that no rerun refuted.

    A step was undone where a later one is as great and goes the other way, or where the level came back to what it
    was. One that is greater, or smaller, is another change: what made the kernel slow is still there. Where the
    parts of a whole moved with it (phases, sections), theirs is the word: an equally great gain in another part
    undoes nothing.
    """
    by_series: dict[Series, list[Finding]] = defaultdict(list)
    for one in findings:
        by_series[_series(one)].append(one)
    parts = _parts(findings)
    return [
        one for rows in by_series.values() for place, one in enumerate(rows)
        if one.confirmed is not False and _lasts(one, rows[place + 1 :], parts, by_series)
    ]  # fmt: skip


def _lasts(
    one: Finding, later: Sequence[Finding], parts: Mapping[tuple[str, ...], Sequence[Finding]],
    by_series: Mapping[Series, Sequence[Finding]],
) -> bool:  # fmt: skip
    moved = [part for part in parts.get(_whole(one), ()) if (part.new_level > part.old_level) == _is_up(one)]
    explained = sum(part.new_level - part.old_level for part in moved)
    if moved and explained / (one.new_level - one.old_level or 1.0) >= MOST_OF_IT:
        return any(not _is_undone(part, _after(part, by_series[_series(part)])) for part in moved)
    return not _is_undone(one, later)


def _is_undone(one: Finding, later: Iterable[Finding]) -> bool:
    """Whether a later step was the same backwards, or the level ever came back."""
    step = one.new_level - one.old_level
    if not step:
        return True
    return any(
        -BEYOND <= (other.new_level - one.old_level) / step <= LEFT
        or abs((other.new_level - other.old_level) / step + 1) <= LEFT
        for other in later
    )


def _after(one: Finding, rows: Sequence[Finding]) -> Sequence[Finding]:
    return rows[next(place for place, other in enumerate(rows) if other is one) + 1 :]


def _is_up(one: Finding) -> bool:
    return one.new_level > one.old_level


def _parts(findings: Iterable[Finding]) -> dict[tuple[str, ...], list[Finding]]:
    """The steps of parts by the whole, cell, subject and version with which they moved."""
    found: dict[tuple[str, ...], list[Finding]] = defaultdict(list)
    for one in findings:
        if one.metric.is_part and one.confirmed is not False:
            found[one.metric.name.rpartition(".")[0], one.cell, one.subject, one.after.commit].append(one)
    return found


def _whole(one: Finding) -> tuple[str, ...]:
    return one.metric.name, one.cell, one.subject, one.after.commit


def _series(one: Finding) -> Series:
    return one.metric.name, one.cell, one.subject
