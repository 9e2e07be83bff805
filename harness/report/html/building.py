"""Computes everything that a page shows: the values of its template, and the JSON shards that its script loads
when needed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from time import time
from typing import Any

from harness.analysis.regression.ancestry import Seen
from harness.core.matrix import Matrix
from harness.report.html.documents import records
from harness.report.html.environments import places_of
from harness.report.html.load_figures import load_figures
from harness.report.html.matrix_grid import grid
from harness.report.html.rendering import Parts
from harness.report.html.sections import Section, heads, sections
from harness.report.html.trends import stacks, trends
from harness.report.html.verdicts import AtVersions, test_shards
from harness.report.model.data import ReportData
from harness.report.model.figures import anchor
from harness.report.model.formatting import moment
from harness.report.model.highlights import MOST_NEWS, cause_words, causes_of, unexpected
from harness.report.model.numbers import Numbers
from harness.report.model.outcome_codes import legend
from harness.report.model.outcomes import Histories, Test, by_test
from harness.report.model.series import Series, every_series, merged, thin
from harness.report.model.spans import PLAN, Span, recorded_spans, spans_of
from harness.report.model.timeline import Timeline
from harness.report.morning.commits import Commits
from harness.report.morning.expectation_edits import Entries
from harness.report.morning.report import Morning, morning

MOST_VERSIONS = 1000
"""Only the newest versions, so many of them, can be compared on a page."""


@dataclass(frozen=True, slots=True)
class Built:
    """The contents of a page, before it is rendered.

    `values` are the template's. `shards` are JSON values by name. `has_figures` is whether anything is drawn.
    """

    morning: Morning
    values: Mapping[str, Any]
    shards: dict[str, Any]
    has_figures: bool


def build(report_data: ReportData, matrix: Matrix | None = None, commits: Commits | None = None) -> Built:
    """Compute the contents of the page. docs/reference/report.md states the limits of its size."""
    report_data = report_data.safe
    spans = recorded_spans(report_data.samples, report_data.verdicts)
    today = morning(report_data, commits, spans)
    timeline = Timeline(report_data, [*spans, *spans_of(one for one in report_data.documents if one.kind != PLAN)])
    every = every_series(report_data, timeline)
    drawn = merged(every)
    figures, where = trends(thin(drawn, report_data, timeline), report_data.findings, timeline)
    loads, unread = load_figures(report_data, timeline)
    shown, left_out = sections([*stacks(drawn), *loads, *figures])
    tests = by_test(report_data)
    histories = Histories(tests, timeline)
    causes, bad, found = causes_of(report_data.findings), unexpected(tests), records(report_data)
    places = places_of(report_data)
    cells, parts = sorted({span.cell for span in spans}), Parts()
    shards: dict[str, Any] = {
        "part-findings": parts.findings([cause_words(one, where) for one in causes[:MOST_NEWS]]),
        "part-unexpected": parts.unexpected(bad[:MOST_NEWS]),
        "part-environment": parts.environment(places),
        **{f"part-record-{number}": parts.record(one) for number, one in enumerate(found)},
        **{section.id: heads(section) for section in shown},
        **{one.figure.id: one.figure.to_json() for section in shown for one in section.figures},
        **histories.shards(), **dict(test_shards(tests, today, cells)),
    }  # fmt: skip
    _add_views(shards, report_data, today, timeline, every, tests, cells)
    shards["index"] |= {**_figures(shown), "shards": [*shards]}
    values = {
        **_values(report_data, spans, timeline),
        "causes_count": len(causes), "causes_shown": min(len(causes), MOST_NEWS),
        "unexpected_count": len(bad), "unexpected_shown": min(len(bad), MOST_NEWS),
        "grid": grid(tests, matrix or Matrix.load(), {one.cell: one.nights for one in today.missing}),
        "cells": sorted({test.cell for test in tests}), "most_runs": histories.most, "sections": shown,
        "places": len(places), "records": found, "left_out": left_out, "unread": unread,
    }  # fmt: skip
    return Built(today, values, shards, bool(shown))


def _values(report_data: ReportData, spans: Sequence[Span], timeline: Timeline) -> dict[str, Any]:
    """The template's values that describe the history as a whole."""
    ended = max((span.last for span in spans), default=0.0)
    arches = {span.cell.partition(":")[2].partition("-")[0] for span in spans} - {""}
    return {
        "told": report_data, "now": ended, "made": moment(time()), "ended": moment(ended),
        "begun": moment(min((span.first for span in spans), default=0.0)), "kernels": timeline.kernels(),
        "arches": sorted(arches),
    }  # fmt: skip


def _add_views(
    shards: dict[str, Any], report_data: ReportData, today: Morning, timeline: Timeline, every: Sequence[Series],
    tests: Sequence[Test], cells: Sequence[str],
) -> None:  # fmt: skip
    """Add the shards of the views of a test, a cell, a metric and a comparison."""
    numbers, at = Numbers(every, timeline, cells), AtVersions(tests, timeline, cells)
    for number in range(len(timeline.versions))[-MOST_VERSIONS:]:
        shards[f"at-{number}"] = {"numbers": numbers.at(number), **at.at(number)}
    shards["versions"] = _versions(timeline, today.commits)
    shards["index"] = numbers.index(report_data.findings) | _index(tests, at, cells, today, timeline)


def _versions(timeline: Timeline, commits: Commits) -> list[dict[str, Any]]:
    """The versions in their order, each with its commit's subject, author and link; `tag` and `count` are those
    of `git describe`."""
    rows = timeline.to_json()
    known = commits.many(dict.fromkeys(row["commit"] for row in rows))
    for row, (_, commit, described) in zip(rows, timeline.versions, strict=True):
        key = Seen(described, 0.0, 0.0).key
        row["tag"], row["count"] = (".".join(map(str, key[0])), key[1]) if key else ("", None)
        if one := known.get(commit):
            row |= {"subject": one.subject, "author": one.author, "link": one.link}
    return rows


def _index(
    tests: Sequence[Test], at: AtVersions, cells: Sequence[str], today: Morning, timeline: Timeline
) -> dict[str, Any]:
    """What the views refer to by number: tests, cells and nights."""
    nights = today.nights
    latest = dict.fromkeys(cells, -1)
    for number, (kernel, commit, described) in enumerate(timeline.versions):
        for cell in timeline.cells_of(kernel, commit, described):
            latest[cell] = max(number, latest.get(cell, -1))
    missing = {one.cell: one.nights for one in today.missing}
    judged = {test.cell for test in tests}
    places = {name: number for number, name in enumerate(at.names)}
    numbers = {cell: number for number, cell in enumerate(cells)}
    heads_ = [today.heads_by_night.get(night) for night in range(nights.last + 1)]
    return {
        "tests": at.names, "testShards": [anchor("test", name) for name in at.names], "cells": list(cells),
        "about": [
            {
                "version": latest[cell] if latest[cell] >= 0 else None, "missing": missing.get(cell, 0),
                "tests": anchor("cell", cell) if cell in judged else "",
            }
            for cell in cells
        ],
        "dates": [moment(night.began)[:10] for night in nights.every],
        "heads": [timeline.number(span.cell, span.version) if span else None for span in heads_],
        "legend": legend(),
        "flaky": [
            [places[group.test], numbers[one.cell]] for group in today.tests.flaky for one in group.cells
        ],
        "expectations": _expectations(at.names, cells),
    }  # fmt: skip


def _expectations(tests: Sequence[str], cells: Sequence[str]) -> dict[str, list[str]]:
    """What the entries of this project's `expectations.toml` say of each test, with file and line."""
    found: dict[str, list[str]] = {}
    for place in Entries().places:
        entry = place.entry
        if not any(fnmatchcase(cell, pattern) for pattern in entry.cells for cell in cells):
            continue
        what = f"{', '.join(entry.outcomes)} is expected on {', '.join(entry.cells)} until {entry.expires}"
        sentence = f"{place}: {what}: {entry.reason}"
        for name in tests:
            if fnmatchcase(name, entry.tests):
                found.setdefault(name, []).append(sentence)
    return found


def _figures(shown: Sequence[Section]) -> dict[str, Any]:
    """The figures by metric as (section, figure), and the section of each figure that has no metric."""
    of: dict[str, list[list[str]]] = {}
    others = {}
    for section in shown:
        for drawn in section.figures:
            if drawn.figure.metric:
                of.setdefault(drawn.figure.metric, []).append([section.id, drawn.figure.id])
            else:
                others[drawn.figure.id] = section.id
    return {"figures": of, "stacks": others}
