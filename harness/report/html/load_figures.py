"""Draws figures of loads: latency by percentile, and what happened in each second."""

import math
from collections import defaultdict
from collections.abc import Sequence

from harness.metrics.records import Document
from harness.report.model.data import ReportData, safe_text
from harness.report.model.figures import MOST_LINES, Figure, Kind, Line
from harness.report.model.formatting import version_name
from harness.report.model.timeline import Timeline
from harness.workloads.load.histogram import decoded
from harness.workloads.load.result import Result

LATEST = 2
"""How many versions of a cell one figure shows: the latest, and the one before it for comparison."""

LONGEST_SECONDS = 3600
NINES_STEP = 0.1

Loaded = tuple[Document, Result]


def load_figures(report_data: ReportData, timeline: Timeline) -> tuple[list[Figure], int]:
    """The figures of each app and load, with a line for each cell; and how many documents could not be read."""
    groups: dict[tuple[str, str, str], dict[str, list[Loaded]]] = defaultdict(lambda: defaultdict(list))
    unread = 0
    for document in sorted(report_data.documents, key=lambda document: document.taken):
        if document.kind != "load":
            continue
        try:
            result = Result.from_json(document.body)
            if result.histogram:
                decoded(result.histogram)
        # What a document of another version of this harness lacks, or a histogram that was cut off, can raise
        # anything; the rest of the report is worth having.
        except Exception:
            unread += 1
            continue
        if not result.error:
            key = document.subject, safe_text(result.scenario), safe_text(f"{result.tool}, {result.mode}")
            groups[key][document.cell].append((document, result))
    figures = []
    for (subject, scenario, how), by_cell in groups.items():
        loaded = [one for cell in by_cell.values() for one in _latest(cell, timeline)]
        title, group = f"{subject} · {scenario}", f"app.{subject.split('.')[0]}"
        for first in range(0, len(loaded), MOST_LINES):
            chosen = loaded[first : first + MOST_LINES]
            about = how if len(loaded) <= MOST_LINES else f"{how} ({first // MOST_LINES + 1})"
            figures += _figures(chosen, group, title, about)
    return figures, unread


def _latest(loaded: Sequence[Loaded], timeline: Timeline) -> list[Loaded]:
    """The last load of each of the latest versions, oldest first."""
    by_version = {timeline.number(one[0].cell, one[0].version) or 0: one for one in loaded}
    return [by_version[number] for number in sorted(by_version)[-LATEST:]]


def _figures(loaded: Sequence[Loaded], group: str, title: str, about: str) -> list[Figure]:
    curves = [_curve(one) for one in loaded]
    answers = [_seconds(one, "requests") for one in loaded]
    slow = [_seconds(one, "p99") for one in loaded]
    failures = [_seconds(one, "failures") for one in loaded if any(s.failures for s in one[1].by_second)]
    limited = [
        f"{_name(one)} was limited by its generator: {safe_text(one[1].generator.why)}"
        for one in loaded if one[1].generator.limited
    ]  # fmt: skip
    note = "; ".join(limited)
    cells = sorted({document.cell for document, _ in loaded})
    made = [
        (Kind.CURVE, "latency by percentile", "us", curves, "lower"),
        (Kind.SECONDS, "answers by second", "requests/s", answers, "higher"),
        (Kind.SECONDS, "p99 by second", "us", slow, "lower"),
        (Kind.SECONDS, "failures by second", "failures/s", failures, "lower"),
    ]
    return [
        Figure(kind, group, f"{title}: {what}", about, unit, drawn, better=better, note=note, cells=cells)
        for kind, what, unit, lines, better in made
        if (drawn := [line for line in lines if line.x])
    ]


def _name(loaded: Loaded) -> str:
    return f"{loaded[0].cell} {version_name(loaded[0].version)}"


def _curve(loaded: Loaded) -> Line:
    points = _percentiles(loaded[1])
    return Line(_name(loaded), [nines for nines, _ in points], [latency for _, latency in points])


def _percentiles(result: Result) -> list[tuple[float, float]]:
    """The latency in microseconds at each percentile, given as a number of nines: 1 is 90%, 2 is 99%. Ends
    where too few answers tell."""
    if not result.histogram:
        return []
    histogram = decoded(result.histogram)
    count = histogram.get_total_count()
    if not count:
        return []
    steps = [round(step * NINES_STEP, 1) for step in range(int(math.log10(count) / NINES_STEP) + 1)]
    wanted = {100 * (1 - 10**-nines): nines for nines in steps}
    found = histogram.get_percentile_to_value_dict(list(wanted))
    return [(nines, float(found.get(percent, 0))) for percent, nines in wanted.items()]


def _seconds(loaded: Loaded, what: str) -> Line:
    """A line with one value for each second of the load: the attribute `what` of `Second`."""
    values = [float(getattr(second, what)) for second in loaded[1].by_second[:LONGEST_SECONDS]]
    seconds = [number for number, value in enumerate(values, 1) if math.isfinite(value)]
    return Line(_name(loaded), seconds, [values[number - 1] for number in seconds])
