"""Finds out which changes still last: a later change may have undone an earlier one."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from harness.analysis.regression.finding import Finding

LEFT = 0.25
"""A change is undone if no more than this share of it is left."""
BEYOND = 0.5
"""A level beyond the old one by more than this share of the change is the effect of another change, which undid
nothing."""
MOST_OF_IT = 0.5
"""Changes of parts stand for a change of the whole if they explain at least this share of it."""

Series = tuple[str, str, str]


def lasting_findings(findings: Sequence[Finding]) -> list[Finding]:
    """The findings that were not undone by a later one, and that no rerun refuted. `findings` must be ordered by
    time.

    A change is undone if a later one of the same size goes the other way, or if the level came back to what it
    was. A later change of another size undoes nothing: what made the kernel slow is still there. If parts of a
    metric (boot phases, sections) changed together with it, those parts decide: an equal gain in another part
    undoes nothing.
    """
    by_series: dict[Series, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_series[_series(finding)].append(finding)
    parts = _parts(findings)
    return [
        one for rows in by_series.values() for place, one in enumerate(rows)
        if one.confirmed is not False and _lasts(one, rows[place + 1 :], parts, by_series)
    ]  # fmt: skip


def undoing_findings(findings: Sequence[Finding]) -> list[Finding]:
    """The findings for the better that undid an earlier one for the worse: together they changed nothing.
    `findings` must be ordered by time.

    One for the worse that takes back what another one gained is no such finding: somebody must look at it.
    """
    lasting = {id(one) for one in lasting_findings(findings)}
    by_series: dict[Series, list[Finding]] = defaultdict(list)
    for finding in findings:
        by_series[_series(finding)].append(finding)
    found: dict[int, Finding] = {}
    for rows in by_series.values():
        for place, one in enumerate(rows):
            if id(one) not in lasting and one.worse and one.confirmed is not False:
                undo = next((other for other in rows[place + 1 :] if _is_undone(one, [other])), None)
                found |= {id(undo): undo} if undo and not undo.worse else {}
    return [one for one in findings if id(one) in found]


def _lasts(
    finding: Finding, later: Sequence[Finding], parts: Mapping[tuple[str, ...], Sequence[Finding]],
    by_series: Mapping[Series, Sequence[Finding]],
) -> bool:  # fmt: skip
    """Whether the change, or any part that explains it, was not undone by `later` findings of its series."""
    moved = [part for part in parts.get(_whole(finding), ()) if _is_up(part) == _is_up(finding)]
    explained = sum(part.new_level - part.old_level for part in moved)
    if moved and explained / (finding.new_level - finding.old_level or 1.0) >= MOST_OF_IT:
        return any(not _is_undone(part, _after(part, by_series[_series(part)])) for part in moved)
    return not _is_undone(finding, later)


def _is_undone(finding: Finding, later: Iterable[Finding]) -> bool:
    """Whether a later change reverses this one, or a later level is nearly the old one."""
    step = finding.new_level - finding.old_level
    if not step:
        return True
    return any(
        -BEYOND <= (other.new_level - finding.old_level) / step <= LEFT
        or abs((other.new_level - other.old_level) / step + 1) <= LEFT
        for other in later
    )


def _after(finding: Finding, rows: Sequence[Finding]) -> Sequence[Finding]:
    """The findings of a series after this one."""
    return rows[next(place for place, other in enumerate(rows) if other is finding) + 1 :]


def _is_up(finding: Finding) -> bool:
    return finding.new_level > finding.old_level


def _parts(findings: Iterable[Finding]) -> dict[tuple[str, ...], list[Finding]]:
    """The changes of parts, by the whole metric, cell, subject and commit with which they came."""
    found: dict[tuple[str, ...], list[Finding]] = defaultdict(list)
    for finding in findings:
        if finding.metric.is_part and finding.confirmed is not False:
            whole = finding.metric.name.rpartition(".")[0]
            found[whole, finding.cell, finding.subject, finding.after.commit].append(finding)
    return found


def _whole(finding: Finding) -> tuple[str, ...]:
    return finding.metric.name, finding.cell, finding.subject, finding.after.commit


def _series(finding: Finding) -> Series:
    return finding.metric.name, finding.cell, finding.subject
