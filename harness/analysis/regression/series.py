"""A history as series: comparable samples, one point a version, along one branch."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import isfinite
from operator import attrgetter
from statistics import median

from harness.analysis.regression.ancestry import Ancestry, Graph, Node, Seen, ancestry, node_of
from harness.analysis.regression.change_points import (
    Change,
    Looked,
    Outlier,
    Scan,
    Suspect,
    exact_look,
)
from harness.analysis.regression.finding import Finding, Night
from harness.analysis.regression.grouping import Group, grouped, kernel_of
from harness.analysis.regression.step_search import weigh
from harness.metrics.records import Metric, Sample, Version

NO_GRAPH: Graph = {}


@dataclass(frozen=True, slots=True)
class Series:
    """Comparable samples, one point a version in the order of commits: the median of the version's samples.

    `times` grow along the series, and `taken` says when each version was first measured (seconds since 1970).
    `beside` are samples of versions of other branches.
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
        """What was measured; `exact` where that is true of it."""
        return replace(self.samples[0].metric, exact=self.exact)

    def finding(self, change: Change) -> Finding:
        """The change in terms of versions."""
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

    def night(self, outlier: Outlier) -> Night:
        """The outlier in terms of versions and nights."""
        first, index = self.samples[0], outlier.index
        return Night(
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
        )

    def span(self, change: Change | Suspect) -> tuple[float, float]:
        """From when until when the change may have come: after the first, up to the second."""
        return self.times[change.earliest - 1], self.times[change.latest]


@dataclass(frozen=True)
class Numbers:
    """The samples of a history in groups and series, for findings, notes, creeps and reports alike: each looks at
    what another has made already."""

    groups: Sequence[Group]
    graph: Graph = field(default_factory=dict)
    branch: str = ""
    _scans: dict[int, Scan] = field(default_factory=dict, init=False, repr=False, compare=False)

    @cached_property
    def orders(self) -> dict[str, Ancestry]:
        """The order of each kernel's versions."""
        return ancestries(self.groups, self.graph, self.branch)

    @cached_property
    def series(self) -> list[Series]:
        """As of `series_of`, one a group."""
        layouts = _Layouts()
        return [_series(group, self.orders[kernel_of(group.samples[0].cell)], layouts) for group in self.groups]

    @cached_property
    def looked(self) -> list[tuple[Series, Looked]]:
        """What there is to see in each; those without noise have no best step."""
        # Those of one length in a row: what is made for a length serves all of them.
        ordered = sorted(self.series, key=lambda one: (one.exact, len(one.values)))
        weigh(self.scan(one).search for one in ordered if not one.exact)
        found = {id(one): self._look(one) for one in ordered}
        return [(one, found[id(one)]) for one in self.series]

    def scan(self, series: Series) -> Scan:
        """The search in one of these series, for numbers with noise."""
        # The series is this object's, and keeps its identity as long as that.
        if id(series) not in self._scans:
            self._scans[id(series)] = Scan(series.values)
        return self._scans[id(series)]

    def _look(self, series: Series) -> Looked:
        return exact_look(series.values, series.counts) if series.exact else self.scan(series).look()


Samples = Iterable[Sample] | Numbers
"""What is judged, grouped already or not."""


def numbers(samples: Samples, graph: Graph = NO_GRAPH, branch: str = "") -> Numbers:
    """The samples in groups; what is grouped has its graph and its branch."""
    return samples if isinstance(samples, Numbers) else Numbers(grouped(list(samples)), graph, branch)


def series_of(samples: Samples, graph: Graph = NO_GRAPH, branch: str = "") -> list[Series]:
    """The samples by series, each along the first parents of `branch`, or of the one that most versions are of.

    Samples of different fingerprints, or builders, are never in one series. Samples of one commit are replicates,
    wherever they stand in the history; those of other branches are beside the series.
    """
    return numbers(samples, graph, branch).series


def ancestries(groups: Iterable[Group], graph: Graph, branch: str = "") -> dict[str, Ancestry]:
    """The order of each kernel's versions."""
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


def by_version(samples: Iterable[Sample]) -> dict[Node, list[Sample]]:
    """The samples of each version."""
    found: dict[Node, list[Sample]] = defaultdict(list)
    for sample in samples:
        found[node_of(sample.version)].append(sample)
    return found


def value_of(samples: Iterable[Sample]) -> float:
    """Their median, without what is no number."""
    ones = list(samples)
    if len(ones) == 1:
        return ones[0].value if isfinite(ones[0].value) else float("nan")
    finite = [sample.value for sample in ones if isfinite(sample.value)]
    return median(finite) if finite else float("nan")


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the samples of a group stand in its series: their places in the group, by point, and beside it."""

    points: Sequence[Sequence[int]]
    versions: tuple[Version, ...]
    times: tuple[float, ...]
    counts: tuple[int, ...]
    beside: Sequence[int]

    @property
    def is_plain(self) -> bool:
        """Whether each sample is a point, in the order of the group."""
        return not self.beside and all(len(at) == 1 and at[0] == place for place, at in enumerate(self.points))


class _Layouts:
    """The layouts of groups by their versions: all metrics of a cell have the same ones."""

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
