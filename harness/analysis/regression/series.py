"""A history as series: comparable samples, one point a version, along one branch."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import inf, isfinite
from statistics import median

from harness.analysis.regression.ancestry import Ancestry, Graph, Node, Seen, ancestry, node_of
from harness.analysis.regression.change_points import Change, Looked, Outlier, exact_changes, exact_outliers, look
from harness.analysis.regression.finding import Finding, Night
from harness.analysis.regression.grouping import Group, grouped, kernel_of
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

    def look(self) -> Looked:
        """What there is to see in its numbers; those without noise have no best step."""
        if not self.exact:
            return look(self.values)
        steps = exact_changes(self.values, self.counts)
        return Looked(None, steps, exact_outliers(self.values, self.counts))

    def span(self, change: Change) -> tuple[float, float]:
        """From when until when the change may have come: after the first, up to the second."""
        return self.times[change.earliest - 1], self.times[change.latest]


@dataclass(frozen=True)
class Numbers:
    """The samples of a history in groups, for all who judge them: each looks at what another has made already."""

    groups: Sequence[Group]
    graph: Graph = field(default_factory=dict)
    branch: str = ""

    @cached_property
    def orders(self) -> dict[str, Ancestry]:
        """The order of each kernel's versions."""
        return ancestries(self.groups, self.graph, self.branch)

    @cached_property
    def series(self) -> list[Series]:
        """As of `series_of`."""
        return [_series(group, self.orders[kernel_of(group.samples[0].cell)]) for group in self.groups]

    @cached_property
    def looked(self) -> list[tuple[Series, Looked]]:
        """What there is to see in each."""
        # Those of one length in a row: what is made for a length serves all of them.
        ordered = sorted(self.series, key=lambda one: (one.exact, len(one.values)))
        found = {id(one): one.look() for one in ordered}
        return [(one, found[id(one)]) for one in self.series]


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
    seen: dict[str, dict[Node, Seen]] = defaultdict(dict)
    for group in groups:
        of_kernel = seen[kernel_of(group.samples[0].cell)]
        for one in group.samples:
            node = node_of(one.version)
            known = of_kernel.get(node)
            if known is None or one.taken < known.taken:
                of_kernel[node] = Seen(one.version.described, one.version.committed, one.taken)
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


def _series(group: Group, order: Ancestry) -> Series:
    found = by_version(group.samples)
    line: Mapping[Node, float] = order.of(found).line
    points = sorted((node for node in found if node in line), key=lambda node: line.get(node, -inf))
    beside: Sequence[Sample] = [one for node, ones in found.items() if node not in line for one in ones]
    measured = [found[node] for node in points]
    return Series(
        tuple(one for ones in measured for one in ones),
        tuple(ones[0].version for ones in measured),
        tuple(line[node] for node in points),
        tuple(value_of(ones) for ones in measured),
        tuple(len(ones) for ones in measured),
        group.exact,
        tuple(ones[0].taken for ones in measured),  # the first, for a group is in the order of measuring
        tuple(beside),
    )
