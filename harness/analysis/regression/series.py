"""Turns a history into series: comparable samples, one point a version, along one branch."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import isfinite
from operator import attrgetter

from harness.analysis.regression.ancestry import Ancestry, Graph, Node, Seen, ancestry, node_of
from harness.analysis.regression.change_points import (
    Change,
    Looked,
    Outlier,
    Scan,
    exact_look,
)
from harness.analysis.regression.finding import Finding, OutlierNight
from harness.analysis.regression.grouping import Group, grouped, kernel_of, value_of
from harness.analysis.regression.host_classes import join_host_classes
from harness.analysis.regression.step_search import SEGMENT
from harness.metrics.records import Metric, Sample, Version

NO_GRAPH: Graph = {}


@dataclass(frozen=True, slots=True)
class Series:
    """Comparable samples, one point a version in the order of commits: the median of the version's samples.

    `times` grow along the series; `taken` is when each version was first measured (seconds since 1970). `beside`
    are samples of versions of other branches.
    """

    samples: tuple[Sample, ...]
    versions: tuple[Version, ...]
    times: tuple[float, ...]
    values: tuple[float, ...]
    counts: tuple[int, ...]
    exact: bool
    taken: tuple[float, ...]
    beside: tuple[Sample, ...] = ()

    @property
    def metric(self) -> Metric:
        """The metric; `exact` is set only if that holds for these samples."""
        return replace(self.samples[0].metric, exact=self.exact)

    def finding(self, change: Change) -> Finding:
        """Describe the change by versions instead of indices."""
        first, index = self.samples[0], change.index
        return Finding(
            self.metric,
            first.cell,
            first.subject,
            self.versions[change.last],
            self.versions[index],
            change.old_level,
            change.new_level,
            change.change,
            change.interval,
            change.probability,
            (sum(self.counts[:index]), sum(self.counts[index:])),
            span=(self.versions[change.earliest - 1], self.versions[change.latest]),
        )

    def night(self, outlier: Outlier) -> OutlierNight:
        """Describe the outlier by versions and nights instead of indices."""
        first, index = self.samples[0], outlier.index
        return OutlierNight(
            self.metric,
            first.cell,
            first.subject,
            self.versions[index],
            self.taken[index],
            outlier.length,
            outlier.value,
            outlier.level,
            outlier.change,
            outlier.alone,
            self.versions[outlier.beside],
            wait=SEGMENT - outlier.length if outlier.index + outlier.length == len(self.values) else 0,
        )

    def span(self, change: Change) -> tuple[float, float]:
        """The times between which the change came: after the first, and not after the second."""
        return self.times[change.earliest - 1], self.times[change.latest]


@dataclass(frozen=True)
class Numbers:
    """The samples of a history, grouped and as series. Findings, notes, drift and reports share one object, so
    that each group, series and look is computed once."""

    groups: Sequence[Group]
    graph: Graph = field(default_factory=dict)
    branch: str = ""
    _scans: dict[int, Scan] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def orders(self) -> dict[str, Ancestry]:
        """The order of the versions of each kernel."""
        return ancestries(self.groups, self.graph, self.branch)

    @cached_property
    def series(self) -> list[Series]:
        """The series, one for each group; as `series_of`."""
        layouts = _Layouts()
        return [_series(group, self.orders[kernel_of(group.samples[0].cell)], layouts) for group in self.groups]

    @cached_property
    def judged_series(self) -> list[Series]:
        """The series in which changes are looked for: those of temporary machines are joined."""
        joined = join_host_classes(self.groups)
        if len(joined) == len(self.groups):
            return self.series
        layouts = _Layouts()
        return [_series(group, self.orders[kernel_of(group.samples[0].cell)], layouts) for group in joined]

    @cached_property
    def looked(self) -> list[tuple[Series, Looked]]:
        """What one look at each series found. Series without noise have no `best` step."""
        # Those of one length in a row: what is made for a length serves all of them.
        ordered = sorted(self.judged_series, key=lambda one: (one.exact, len(one.values)))
        found = {id(one): self._look(one) for one in ordered}
        return [(one, found[id(one)]) for one in self.judged_series]

    def scan(self, series: Series) -> Scan:
        """The search in one of these series, which must have noise."""
        # The series is this object's, and keeps its identity as long as that.
        if id(series) not in self._scans:
            self._scans[id(series)] = Scan(series.values)
        return self._scans[id(series)]

    def _look(self, series: Series) -> Looked:
        return exact_look(series.values, series.counts) if series.exact else self.scan(series).look()


Samples = Iterable[Sample] | Numbers
"""What an analysis takes: samples, or samples that are grouped already."""


def numbers(samples: Samples, graph: Graph = NO_GRAPH, branch: str = "") -> Numbers:
    """Group the samples, unless they are grouped already: then their graph and branch are kept."""
    return samples if isinstance(samples, Numbers) else Numbers(grouped(list(samples)), graph, branch)


def series_of(samples: Samples, graph: Graph = NO_GRAPH, branch: str = "") -> list[Series]:
    """Make the series of the samples, each along the first parents of `branch`, or of the branch with most of the
    versions.

    Samples with different fingerprints or builders are never in one series. Samples of one commit are replicates,
    wherever they are in the history. Samples of other branches are `beside` the series.
    """
    return numbers(samples, graph, branch).series


def ancestries(groups: Iterable[Group], graph: Graph, branch: str = "") -> dict[str, Ancestry]:
    """The order of the versions of each kernel."""
    first: dict[str, dict[int, Sample]] = defaultdict(dict)
    for group in groups:
        of_kernel = first[kernel_of(group.samples[0].cell)]
        for one in group.samples:
            # By identity: a history's samples share their versions, and of a year there are a million.
            known = of_kernel.get(id(one.version))
            if known is None or one.taken < known.taken:
                of_kernel[id(one.version)] = one
    seen: dict[str, dict[Node, Seen]] = defaultdict(dict)
    for kernel, samples in first.items():
        for one in samples.values():
            node = node_of(one.version)
            before = seen[kernel].get(node)
            if before is None or one.taken < before.taken:
                seen[kernel][node] = Seen(one.version.described, one.version.committed, one.taken)
    return {kernel: ancestry(versions, graph, branch) for kernel, versions in seen.items()}


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the samples of a group belong in its series: their indices in the group, for each point, and for
    the versions beside the series."""

    points: Sequence[Sequence[int]]
    versions: tuple[Version, ...]
    times: tuple[float, ...]
    counts: tuple[int, ...]
    beside: Sequence[int]

    @property
    def is_plain(self) -> bool:
        """Whether each sample is a point of its own, in the order of the group."""
        return not self.beside and all(len(at) == 1 and at[0] == place for place, at in enumerate(self.points))


class _Layouts:
    """Caches the layouts of groups by their versions: all metrics of a cell have the same versions."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, ...], tuple[_Layout, bool]] = {}

    def of(self, group: Group, order: Ancestry) -> tuple[_Layout, bool]:
        """The group's layout, and whether it is plain."""
        versions = [one.version for one in group.samples]
        key = (id(order), *map(id, versions))
        if key not in self._known:
            made = _layout(versions, order)
            self._known[key] = made, made.is_plain
        return self._known[key]


def _layout(versions: Sequence[Version], order: Ancestry) -> _Layout:
    found: dict[Node, list[int]] = defaultdict(list)
    for place, version in enumerate(versions):
        found[node_of(version)].append(place)
    line = order.of(found).line
    points = sorted((node for node in found if node in line), key=line.__getitem__)
    measured = [found[node] for node in points]
    return _Layout(
        measured,
        tuple(versions[places[0]] for places in measured),
        tuple(line[node] for node in points),
        tuple(map(len, measured)),
        [place for node, places in found.items() if node not in line for place in places],
    )


def _series(group: Group, order: Ancestry, layouts: _Layouts) -> Series:
    samples = group.samples
    layout, is_plain = layouts.of(group, order)
    if is_plain:
        values = tuple(one.value if isfinite(one.value) else float("nan") for one in samples)
        taken = tuple(map(attrgetter("taken"), samples))
        return Series(
            tuple(samples), layout.versions, layout.times, values, layout.counts, group.exact, taken
        )  # fmt: skip
    measured = [[samples[at] for at in places] for places in layout.points]
    return Series(
        tuple(one for ones in measured for one in ones),
        layout.versions,
        layout.times,
        tuple(map(value_of, measured)),
        layout.counts,
        group.exact,
        tuple(ones[0].taken for ones in measured),  # the first, for a group is in the order of measuring
        tuple(samples[at] for at in layout.beside),
    )
