"""Samples as series: for each metric, cell and environment, one number a version."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from statistics import median

from harness import facts
from harness.measure import Environment, Metric, Sample
from harness.regress.ancestry import Ancestry, node_of
from harness.regress.grouping import Group, grouped, kernel_of
from harness.regress.series import ancestries
from harness.report.page.figures import Line
from harness.report.page.timeline import Timeline
from harness.report.page.told import Told

MOST_VERSIONS = 200
"""Versions of one series in a report."""

MOST_POINTS = 60_000
"""Points of all series in a report: about 2.5 MB of it. Where there are more series, each shows fewer versions."""


MANY_HOSTS = 6
"""Series of one metric and cell, from which those of one class of hosts are drawn as one."""
FEWEST_POINTS, MANY_VERSIONS = 4, 12
"""Points of a series that is drawn at least, where there are so many versions."""


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
    taken at `latest`, in seconds since 1970. `builder` is what built them, or stands for it."""

    metric: Metric
    cell: str
    subject: str
    environment: Environment
    points: Sequence[Point]
    hidden: int
    latest: float
    builder: str = ""
    procedure: str = ""

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
    groups = sorted(grouped(told.samples), key=lambda group: group.samples[0].taken)
    orders = ancestries(groups, told.graph)
    groups = _long_enough(_of_classes(groups))
    most = max(2, min(MOST_VERSIONS, MOST_POINTS // max(1, len(groups))))
    return [_series(group, orders[kernel_of(group.samples[0].cell)], timeline, most) for group in groups]


def _of_classes(groups: Sequence[Group]) -> list[Group]:
    """To be drawn, noisy series of many hosts that differ in nothing but their names are one: each night's host is
    another machine of its kind, and no judgement rests on a figure."""
    named: dict[tuple[str, str, str], list[Group]] = defaultdict(list)
    for group in groups:
        first = group.samples[0]
        named[first.metric.name, first.cell, first.subject].append(group)
    found: list[Group] = []
    for alike in named.values():
        if len(alike) <= MANY_HOSTS or any(group.exact for group in alike):
            found += alike
            continue
        classes: dict[object, list[Group]] = defaultdict(list)
        for group in alike:
            first = group.samples[0]
            kind = replace(first.environment, host="", load=0.0)
            classes[kind, group.builder, first.procedure].append(group)
        found += [replace(same[0], samples=[one for group in same for one in group.samples])
                  for same in classes.values()]  # fmt: skip
    return found


def _long_enough(groups: Sequence[Group]) -> list[Group]:
    """Without the groups that are too short to show a trend, where many versions were measured: another host each
    night makes a series of one point a night."""
    versions = {node_of(sample.version) for group in groups for sample in group.samples}
    if len(versions) < MANY_VERSIONS:
        return list(groups)
    return [group for group in groups if len({node_of(one.version) for one in group.samples}) >= FEWEST_POINTS]


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
    for name in ("builder", "procedure"):
        words += _apart(getattr(one, name), [getattr(other, name) for other in rivals])
    return f" ({', '.join(words)})"


def _apart(text: str, others: Sequence[str]) -> list[str]:
    """Those facts of one text that not all have."""
    every, own = [facts.parted(other) for other in others], facts.parted(text)
    return [f"{name} {own[name]}" for name in own if any(one.get(name) != own[name] for one in every)]


def _series(group: Group, order: Ancestry, timeline: Timeline, most: int) -> Series:
    """One point a version of the line: what is beside it would look like a change that went away again."""
    nodes = [node_of(sample.version) for sample in group.samples]
    line = order.of(nodes).line
    numbers: dict[int, list[Sample]] = defaultdict(list)
    for node, sample in zip(nodes, group.samples, strict=True):
        number = timeline.number(sample.cell, sample.version)
        if number is not None and node in line:
            numbers[number].append(sample)
    points = [_point(number, alike) for number, alike in sorted(numbers.items())]
    last = group.samples[-1]
    hidden = max(0, len(points) - most)
    return Series(
        last.metric, last.cell, last.subject, last.environment, points[-most:], hidden, last.taken, group.builder,
        last.procedure,
    )  # fmt: skip


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
