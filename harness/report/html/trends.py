"""Draws figures of numbers by version: trends with their findings, and boot phases and sizes as stacked parts."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from harness.analysis.regression.finding import Finding
from harness.report.model.figures import MOST_LINES, Figure, Kind, Line, Mark
from harness.report.model.formatting import percent, version_name
from harness.report.model.highlights import Named, interval_words, ordered
from harness.report.model.series import Series, environment_words, places
from harness.report.model.stacked_metrics import STACKS, whole
from harness.report.model.timeline import Timeline

MOST_PARTS = 12
MOST_BARS = 40


def trends(
    series: Sequence[Series], findings: Sequence[Finding], timeline: Timeline
) -> tuple[list[Figure], dict[Named, str]]:
    """Draw a figure for each metric, subject, kernel and arch, with a line for each cell and environment.

    Returns the figures, and the figure's id for each (metric, cell, subject). Parts of a stack are drawn in its
    figure; they have a figure of their own only if a finding is about them.
    """
    told_of: dict[Named, list[Finding]] = defaultdict(list)
    for finding in findings:
        told_of[finding.metric.name, finding.cell, finding.subject].append(finding)
    groups: dict[tuple[str, str, str], list[Series]] = defaultdict(list)
    for one in series:
        if whole(one.metric.name) is None or _named(one) in told_of:
            groups[one.metric.name, one.subject, arch_of(one.cell)].append(one)
    figures: list[Figure] = []
    drawn: dict[Named, str] = {}
    colours = {name: number for number, name in enumerate(sorted({_beside_arch(one.cell) for one in series}))}
    for alike in groups.values():
        for first in range(0, len(alike), MOST_LINES):
            chosen = alike[first : first + MOST_LINES]
            more = f", part {first // MOST_LINES + 1}" if len(alike) > MOST_LINES else ""
            figures.append(_trend(chosen, alike, told_of, timeline, more, colours))
            drawn |= {_named(one): figures[-1].id for one in chosen}
    return figures, drawn


def stacks(series: Sequence[Series]) -> list[Figure]:
    """Draw a figure for each cell, subject and environment whose metrics are parts of a stack."""
    groups: dict[tuple[str, str, str, str], list[Series]] = defaultdict(list)
    for one in series:
        if stem := whole(one.metric.name):
            print_ = one.environment.fingerprint(one.metric, one.builder, one.procedure)
            groups[stem, one.cell, one.subject, print_].append(one)
    return [_stack(stem, parts, groups) for (stem, *_), parts in groups.items()]


def group_of(metric: str) -> str:
    """The section to which a metric belongs: its first word, with the name of the app if that is `app`."""
    words = metric.split(".")
    return ".".join(words[:2]) if words[0] == "app" else words[0]


def _trend(
    chosen: Sequence[Series],
    alike: Sequence[Series],
    told_of: Mapping[Named, Sequence[Finding]],
    timeline: Timeline,
    more: str,
    colours: Mapping[str, int],
) -> Figure:
    """Draw `chosen`, which are some of the series `alike` of one metric, subject and arch, and mark their
    findings.

    `told_of` are the findings by (metric, cell, subject); `more` is added to the title; `colours` has a number for
    each cell without its arch.
    """
    where = places(chosen)
    names = dict.fromkeys(_named(one) for one in chosen)
    marks = []
    drawn = [{point.version for point in one.points} for one in chosen]
    for finding in ordered([finding for name in names for finding in told_of.get(name, ())]):
        named = finding.metric.name, finding.cell, finding.subject
        began = timeline.number(finding.cell, finding.after)
        for number, one in enumerate(chosen):
            if began is not None and _named(one) == named and began in drawn[number]:
                marks.append(Mark(number, where[began], finding_words(finding), finding.worse))
                break
    first = chosen[0]
    return Figure(
        Kind.TREND,
        group_of(first.metric.name),
        _title(first),
        f"{arch_of(first.cell)} by version{more}",
        first.metric.unit,
        [
            one.line(where, _short(one) + environment_words(one, alike), colours[_beside_arch(one.cell)])
            for one in chosen
        ],
        tuple(where),
        marks,
        first.metric.better,
        _thinner(chosen),
        first.metric.name,
        sorted({one.cell for one in chosen}),
    )


def finding_words(finding: Finding) -> str:
    """Describe the finding in one line: its direction, its size, and the first version with it."""
    way = "worse" if finding.worse else "better"
    return f"{way}: {percent(finding.change)} ({interval_words(finding)}) since {version_name(finding.after)}"


def _stack(stem: str, parts: list[Series], groups: Iterable[tuple[str, str, str, str]]) -> Figure:
    # Phases stand in the order in which the last boot's were taken; sections and libraries by size.
    ordered = sorted(parts, key=lambda one: one.latest if stem.startswith("boot.") else -one.points[-1].value)
    every = sorted(places(ordered))
    versions = _spread(every)
    where = {number: place for place, number in enumerate(versions)}
    shown, rest = ordered[:MOST_PARTS], ordered[MOST_PARTS:]
    lines = [_bars(one.metric.name[len(stem) + 1 :], [one], where) for one in shown]
    if rest:
        lines.append(_bars(f"{len(rest)} others", rest, where))
    first = parts[0]
    twins = sum(key[:3] == (stem, first.cell, first.subject) for key in groups)
    about = " · ".join(filter(None, (first.cell, first.subject, _place(first) if twins > 1 else "")))
    note = f"{len(versions)} of {len(every)} versions, from the first to the last." if versions != every else ""
    return Figure(
        Kind.STACK, group_of(stem), STACKS[stem], about, first.metric.unit, lines, tuple(versions), note=note,
        cells=[first.cell],
    )  # fmt: skip


def _spread(versions: Sequence[int]) -> list[int]:
    """At most `MOST_BARS` of the versions, at equal distances, with the first and the last of them."""
    if len(versions) <= MOST_BARS:
        return list(versions)
    return [versions[round(place * (len(versions) - 1) / (MOST_BARS - 1))] for place in range(MOST_BARS)]


def _bars(name: str, parts: Sequence[Series], where: dict[int, int]) -> Line:
    """The sum of these parts at each version; `where` has the place of the bar of each version."""
    heights: dict[int, float] = defaultdict(float)
    for one in parts:
        for point in one.points:
            if point.version in where and math.isfinite(point.value):
                heights[where[point.version]] += point.value
    return Line(name, sorted(heights), [heights[place] for place in sorted(heights)])


def _place(series: Series) -> str:
    where = series.environment
    return f"{where.accelerator}, {where.emulator if series.metric.exact else where.host}"


def _named(series: Series) -> Named:
    """The metric, the cell and the subject of a series."""
    return series.metric.name, series.cell, series.subject


def _title(series: Series) -> str:
    named = not series.subject or series.subject in series.metric.name.split(".")
    return series.metric.name if named else f"{series.metric.name} · {series.subject}"


def _short(series: Series) -> str:
    return series.cell.partition(":")[2] or series.cell


def _thinner(chosen: Sequence[Series]) -> str:
    """A note for figures in which a point stands for several versions; else empty."""
    longest = max(chosen, key=lambda one: one.versions)
    if longest.versions <= len(longest.points):
        return ""
    return f"{longest.versions} versions; a point may stand for several, and never for both sides of a step."


def _beside_arch(cell: str) -> str:
    """The cell without its arch: cells of different arches that are otherwise equal have the same colour."""
    kernel, _, rest = cell.partition(":")
    return f"{kernel}:{rest.partition('-')[2] or rest}"


def arch_of(cell: str) -> str:
    """The kernel and the arch of a cell: `osv x86_64`."""
    kernel, _, rest = cell.partition(":")
    return f"{kernel} {rest.partition('-')[0]}" if "-" in rest else kernel
