"""Samples as series: for each metric, cell and environment, one number a version."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from operator import attrgetter
from statistics import median

from harness.analysis.regression.grouping import Group, kernel_of
from harness.analysis.regression.series import Series as VerdictRecord
from harness.core import facts
from harness.metrics.records import Environment, Metric, Sample, Version
from harness.report.model.data import ReportData
from harness.report.model.figures import Line
from harness.report.model.thinning import Point, merged_point, thinned
from harness.report.model.timeline import Timeline

MOST_POINTS_OF_ONE, LEAST_POINTS = 200, 60
"""The most points of one drawn series, and the fewest that the limit of all series leaves it. If it has more
versions, neighbours share a point."""

MOST_POINTS = 120_000
"""The most points of all series in a report: about 5 MB of it. If there are more series, each has fewer points."""


MANY_HOSTS = 6
"""From so many series of one metric and cell on, those of one class of hosts are drawn as one."""
FEWEST_POINTS, MANY_VERSIONS = 4, 12
"""If there are at least `MANY_VERSIONS` versions, a series is drawn only with at least `FEWEST_POINTS` points."""


@dataclass(frozen=True, slots=True)
class Series:
    """Numbers that may be compared.

    - `points` are as they are drawn, oldest first; they stand for so many `versions`.
    - `latest` is when the last number was taken, in seconds since 1970.
    - `builder` is what built the kernels, or stands for it. `exact` is whether the numbers have no noise.
    """

    metric: Metric
    cell: str
    subject: str
    environment: Environment
    points: Sequence[Point]
    versions: int
    latest: float
    builder: str = ""
    procedure: str = ""
    exact: bool = False

    @property
    def kernel(self) -> str:
        """The kernel that was measured."""
        return kernel_of(self.cell)

    def line(self, places: dict[int, int], name: str, colour: int = -1) -> Line:
        """The series as a figure's line, with x as the versions' places in the figure."""
        ranged = any(point.low != point.high for point in self.points)
        return Line(
            name,
            [places[point.version] for point in self.points],
            [point.value for point in self.points],
            [point.low for point in self.points] if ranged else (),
            [point.high for point in self.points] if ranged else (),
            [point.count for point in self.points] if any(point.count > 1 for point in self.points) else (),
            colour,
        )


def series_of(report_data: ReportData, timeline: Timeline) -> list[Series]:
    """The drawn series, in the order of their first samples."""
    return thin(merged(every_series(report_data, timeline)), report_data, timeline)


def every_series(report_data: ReportData, timeline: Timeline) -> list[Series]:
    """All series of the samples, with a point for each version, also those of hosts that measured one night
    only."""
    places = _Places(timeline)
    both = zip(report_data.numbers.groups, report_data.numbers.series, strict=True)
    ordered = sorted(both, key=lambda one: one[0].samples[0].taken)
    return [_series(group, judged, places) for group, judged in ordered]


def merged(series: Sequence[Series]) -> list[Series]:
    """The series that are long enough to be drawn; those of one class of hosts are merged."""
    return _long_enough(_of_classes(series))


def thin(series: Sequence[Series], report_data: ReportData, timeline: Timeline) -> list[Series]:
    """The same series with fewer points, within the limit for a report."""
    most = max(LEAST_POINTS, min(MOST_POINTS_OF_ONE, MOST_POINTS // max(1, len(series))))
    steps: dict[tuple[str, str, str], set[int]] = defaultdict(set)
    for one in report_data.findings:
        if (number := timeline.number(one.cell, one.after)) is not None:
            steps[one.metric.name, one.cell, one.subject].add(number)
    return [
        replace(one, points=thinned(one.points, most, steps.get((one.metric.name, one.cell, one.subject), ())))
        for one in series
    ]


class _Places:
    """Caches the numbers of versions for all series that have the same versions."""

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline
        self._known: dict[tuple[str, int], tuple[Sequence[Version], list[int | None]]] = {}

    def of(self, cell: str, versions: Sequence[Version]) -> list[int | None]:
        """The number of each version that was measured on the cell; None for others."""
        key = cell, id(versions)
        known = self._known.get(key)
        if known is None:
            # The versions are kept, too, so that no others get their identity.
            numbers = [self._timeline.number(cell, version) for version in versions]
            known = self._known[key] = versions, numbers
        return known[1]


def _of_classes(series: Sequence[Series]) -> list[Series]:
    """Merge noisy series of hosts that differ in their name alone, for drawing: each night's host may be a new
    machine of one kind. No judgement rests on a figure."""
    named: dict[tuple[str, str, str], list[Series]] = defaultdict(list)
    for one in series:
        named[one.metric.name, one.cell, one.subject].append(one)
    found: list[Series] = []
    for alike in named.values():
        if len(alike) <= MANY_HOSTS or any(one.exact for one in alike):
            found += alike
            continue
        classes: dict[object, list[Series]] = defaultdict(list)
        for one in alike:
            kind = replace(one.environment, host="", load=0.0)
            classes[kind, one.builder, one.procedure].append(one)
        found += map(_as_one, classes.values())
    return found


def _as_one(series: Sequence[Series]) -> Series:
    """Join series into one with the points of all."""
    at: dict[int, list[Point]] = defaultdict(list)
    for point in (point for one in series for point in one.points):
        at[point.version].append(point)
    points = [merged_point(alike) for _, alike in sorted(at.items())]
    return replace(series[0], points=points, versions=len(points), latest=max(one.latest for one in series))


def _long_enough(series: Sequence[Series]) -> list[Series]:
    """Leave out series that are too short to show a trend, if many versions were measured: a new host each
    night makes a series of one point."""
    versions = {point.version for one in series for point in one.points}
    few = 1 if len(versions) < MANY_VERSIONS else FEWEST_POINTS
    return [one for one in series if len(one.points) >= few]


def places(series: Iterable[Series]) -> dict[int, int]:
    """The index of each version in a figure of these series."""
    numbers = sorted({point.version for one in series for point in one.points})
    return {number: place for place, number in enumerate(numbers)}


def environment_words(one: Series, among: Sequence[Series]) -> str:
    """How the series' environment differs from those of the other series of its cell; empty if it is the only
    one."""
    rivals = [other for other in among if other.cell == one.cell]
    if len(rivals) < 2:
        return ""
    words = [one.environment.accelerator]
    for name in ("emulator", "host", "cpu", "cpus", "governor", "host_kernel"):
        if one.metric.exact and name != "emulator":
            break
        if len({getattr(other.environment, name) for other in rivals}) > 1:
            words.append(str(getattr(one.environment, name)))
    for name in ("builder", "procedure"):
        words += _apart(getattr(one, name), [getattr(other, name) for other in rivals])
    return f" ({', '.join(words)})"


def _apart(text: str, others: Sequence[str]) -> list[str]:
    """For each text, the facts that not all texts have."""
    every, own = [facts.parse_facts(other) for other in others], facts.parse_facts(text)
    return [f"{name} {own[name]}" for name in own if any(one.get(name) != own[name] for one in every)]


def _series(group: Group, judged: VerdictRecord, places: _Places) -> Series:
    """Make a series with one point for each version on the line. Versions beside the line are left out: they
    would look like a change that went away again."""
    last = group.samples[-1]
    numbers = places.of(last.cell, judged.versions)
    points = []
    if len(judged.samples) == len(numbers):
        points = [
            _alone(number, one) for number, one in zip(numbers, judged.samples, strict=True) if number is not None
        ]
    else:
        start = 0
        for number, count in zip(numbers, judged.counts, strict=True):
            if number is not None:
                points.append(_point(number, judged.samples[start : start + count]))
            start += count
    points.sort(key=attrgetter("version"))  # the line may be another where verdicts count, too
    return Series(
        last.metric, last.cell, last.subject, last.environment, points, len(points), last.taken, group.builder,
        last.procedure, group.exact,
    )  # fmt: skip


def _alone(version: int, one: Sample) -> Point:
    half = one.spread / 2
    return Point(version, one.value, one.value - half, one.value + half, 1)


def _point(version: int, samples: Sequence[Sample]) -> Point:
    if len(samples) == 1:
        return _alone(version, samples[0])
    # A number that is none would make nonsense of the others' median.
    samples = [sample for sample in samples if isfinite(sample.value)] or samples
    return Point(
        version,
        median(sample.value for sample in samples),
        min(sample.value - sample.spread / 2 for sample in samples),
        max(sample.value + sample.spread / 2 for sample in samples),
        len(samples),
    )
