"""Samples as series: for each metric, cell and environment, one number a version."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isfinite
from statistics import median

from harness.measure import Environment, Metric, Sample
from harness.report.page.figures import Line
from harness.report.page.timeline import Timeline, kernel_of
from harness.report.page.told import Told

MOST_VERSIONS = 200
"""Versions of one series in a report."""

MOST_POINTS = 60_000
"""Points of all series in a report: about 2.5 MB of it. Where there are more series, each shows fewer versions."""


@dataclass(frozen=True, slots=True)
class Point:
    """What was measured at one version: the median, the range, and how many numbers it stands for."""

    version: int
    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Series:
    """Numbers that may be compared: `points` from old to new, `hidden` older ones left out; the last number was
    taken at `latest`, in seconds since 1970."""

    metric: Metric
    cell: str
    subject: str
    environment: Environment
    points: Sequence[Point]
    hidden: int
    latest: float

    @property
    def kernel(self) -> str:
        """The kernel that was measured."""
        return kernel_of(self.cell)

    def line(self, places: dict[int, int], name: str) -> Line:
        """The series as a figure's line, with x as the versions' places in the figure."""
        return Line(
            name,
            [places[point.version] for point in self.points],
            [point.value for point in self.points],
            [point.low for point in self.points],
            [point.high for point in self.points],
            [point.count for point in self.points],
        )


def series_of(told: Told, timeline: Timeline) -> list[Series]:
    """All series of the samples, in the order in which their first samples were taken."""
    groups: dict[tuple[str, str, str, str], list[Sample]] = defaultdict(list)
    prints: dict[tuple[Environment, bool], str] = {}
    for sample in sorted(told.samples, key=lambda sample: sample.taken):
        known = sample.environment, sample.metric.exact
        if known not in prints:
            prints[known] = sample.environment.fingerprint(sample.metric)
        groups[sample.metric.name, sample.cell, sample.subject, prints[known]].append(sample)
    most = max(2, min(MOST_VERSIONS, MOST_POINTS // max(1, len(groups))))
    return [_series(group, timeline, most) for group in groups.values()]


def places(series: Iterable[Series]) -> dict[int, int]:
    """The place of each version in a figure of these series."""
    numbers = sorted({point.version for one in series for point in one.points})
    return {number: place for place, number in enumerate(numbers)}


def environment_words(one: Series, among: Sequence[Series]) -> str:
    """What tells the series' environment from the others' of the same cell; nothing if it is the only one."""
    rivals = [other for other in among if other.cell == one.cell]
    if len(rivals) < 2:
        return ""
    words = [one.environment.accelerator]
    for name in ("emulator", "host", "cpu", "cpus", "governor", "host_kernel"):
        if one.metric.exact and name != "emulator":
            break
        if len({getattr(other.environment, name) for other in rivals}) > 1:
            words.append(str(getattr(one.environment, name)))
    return f" ({', '.join(words)})"


def _series(samples: Sequence[Sample], timeline: Timeline, most: int) -> Series:
    by_version: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        number = timeline.number(sample.cell, sample.version)
        if number is not None:
            by_version[number].append(sample)
    points = [_point(number, group) for number, group in sorted(by_version.items())]
    last = samples[-1]
    hidden = max(0, len(points) - most)
    return Series(last.metric, last.cell, last.subject, last.environment, points[-most:], hidden, last.taken)


def _point(version: int, samples: Sequence[Sample]) -> Point:
    # A number that is none would make nonsense of the others' median.
    samples = [sample for sample in samples if isfinite(sample.value)] or samples
    return Point(
        version,
        median(sample.value for sample in samples),
        min(sample.value - sample.spread / 2 for sample in samples),
        max(sample.value + sample.spread / 2 for sample in samples),
        len(samples),
    )
