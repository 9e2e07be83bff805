"""Decides which samples may be compared, for findings, plots and reports alike.

`Sample.series` answers that from what was recorded. An exact number also depends on what built the kernel, which
old samples don't record: for them the host stands for the builder, and two different builds of one commit show
that the builder changed. A metric that is declared exact is believed as long as one build gives one number.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import inf, isfinite
from operator import attrgetter
from statistics import median

from harness.analysis.regression.ancestry import Node, node_of
from harness.core import facts
from harness.metrics.records import Metric, Sample

FEW = 3
"""A kernel measured by more hosts than this, and by more than one host for two runs, is measured on temporary
machines, whose names say nothing."""

UNRECORDED = "unrecorded change"
"""The builder's name after two builds of one commit differ although nothing recorded does."""

ALIKE = 0.1
"""Two changes between builders are the same one if they differ by at most this share of it."""


@dataclass(frozen=True, slots=True)
class Group:
    """Samples that may be compared.

    `builder` is what built them, or stands for it. `exact` is whether they have no noise. `doubt` is why they have
    some although their metric is declared exact; empty otherwise.
    """

    samples: Sequence[Sample]
    builder: str
    exact: bool
    doubt: str = ""

    @property
    def metric(self) -> Metric:
        """The metric of these samples."""
        return self.samples[0].metric


def kernel_of(cell: str) -> str:
    """The kernel of a cell: `linux` for `linux:qemu-rofs`."""
    return cell.partition(":")[0] if ":" in cell else ""


def grouped(samples: Sequence[Sample]) -> list[Group]:
    """Group the samples by metric, cell, subject, fingerprint and, if exact, builder; each group in the order
    of measuring."""
    by_series: dict[tuple[str, ...], list[Sample]] = defaultdict(list)
    prints: dict[tuple[int, int, str, str], str] = {}
    for sample in samples:
        # What makes the series is looked up by the parts themselves, which many samples of a history share.
        metric = sample.metric
        parts = id(metric), id(sample.environment), sample.version.builder, sample.procedure
        if (print_ := prints.get(parts)) is None:
            print_ = prints[parts] = sample.series[-1]
        by_series[metric.name, sample.cell, sample.subject, print_].append(sample)
    of_the_moment = hosts_of_the_moment(by_series.values())
    groups = []
    for _, alike in sorted(by_series.items()):
        sort_by_time(alike)
        if not alike[0].metric.exact:
            groups.append(Group(alike, alike[0].version.builder, exact=False))
            continue
        by_builder: dict[str, list[Sample]] = defaultdict(list)
        temporary = of_the_moment[kernel_of(alike[0].cell)]
        for sample in alike:
            by_builder[builder_of(sample, temporary)].append(sample)
        for builder, built in by_builder.items():
            groups += _by_time(built, builder)
    return groups


def sort_by_time(samples: list[Sample]) -> None:
    """Sort the samples by when they were measured; ties get an order that does not depend on the input's."""
    samples.sort(key=attrgetter("taken"))
    if any(before.taken == after.taken for before, after in pairwise(samples)):
        samples.sort(key=attrgetter("taken", "version.committed", "id", "version.digest", "value"))


def builder_of(sample: Sample, temporary: bool) -> str:
    """What built the sample's kernel. If that is not recorded, the host and the host's kernel stand for it; the
    kernel alone where machines are `temporary`, whose names say nothing."""
    if sample.version.builder:
        return sample.version.builder
    where = sample.environment
    return _host_words("" if temporary else where.host, where.host_kernel)


@lru_cache(maxsize=4096)
def _host_words(host: str, host_kernel: str) -> str:
    """The facts of a host that stands for a builder. Cached, because a million samples share a few."""
    return facts.format_facts({"host": host, "host kernel": host_kernel})


def hosts_of_the_moment(groups: Iterable[Sequence[Sample]]) -> dict[str, bool]:
    """By kernel, whether it is measured on temporary machines, whose names say nothing."""
    hosts: dict[str, set[str]] = defaultdict(set)
    runs: dict[str, set[str]] = defaultdict(set)
    for samples in groups:
        kernel = kernel_of(samples[0].cell)
        exact = samples if samples[0].metric.exact else ()
        hosts[kernel] |= {one.environment.host for one in exact}
        runs[kernel] |= {one.run for one in exact}
    return {kernel: len(found) > max(FEW, len(runs[kernel]) / 2) for kernel, found in hosts.items()}


def _by_time(samples: Sequence[Sample], builder: str) -> list[Group]:
    """Group exact samples of one recorded builder.

    They are split wherever two builds of one commit show that the builder changed. If that would contradict
    itself, they are one group that is not exact.
    """
    if _agree(samples):
        return [Group(samples, builder, exact=True)]
    moments = _moments(samples)
    parts: dict[int, list[Sample]] = defaultdict(list)
    for sample in samples:
        parts[bisect_right(moments or (), sample.taken)].append(sample)
    if moments is None or any(_differ(part, builds=True) for part in parts.values()):
        why = _differ(samples, builds=False) or f"builds of one commit differ: {_differ(samples, builds=True)}"
        return [Group(samples, builder, exact=False, doubt=why)]
    named = {number: f"{builder}; {UNRECORDED}={number}" if number else builder for number in parts}
    return [
        Group(part, named[number], exact=not (why := _differ(part, builds=False)), doubt=why)
        for number, part in parts.items()
    ]


def _agree(samples: Iterable[Sample]) -> bool:
    """Whether each commit has one number, as nearly all have."""
    first: dict[Node, Sample] = {}
    for one in samples:
        known = first.setdefault(node_of(one.version), one)
        if one.spread or (known is not one and known.value != one.value):
            return False
    return True


def _moments(samples: Sequence[Sample]) -> list[float] | None:
    """When the builder changed: the fewest moments that explain all differing builds of one commit. None if it
    would have changed back."""
    spans = sorted(_spans(samples))
    chosen: list[tuple[float, float]] = []
    for end, start, change in spans:
        if chosen and start < chosen[-1][0] <= end:
            continue
        if any(abs(change - other) <= ALIKE * abs(other) for _, other in chosen):
            return None
        chosen.append((_moment(samples, start, end, change), change))
    return [moment for moment, _ in chosen]


def _spans(samples: Sequence[Sample]) -> Iterable[tuple[float, float, float]]:
    """For each commit that was built twice with different numbers: the start and the end of the time in which
    the builder changed, and the relative change."""
    latest: dict[tuple[str, bool], Sample] = {}
    for sample in samples:
        before = latest.get(node_of(sample.version), sample)
        if before.version.digest != sample.version.digest and before.value != sample.value:
            yield sample.taken, before.taken, (sample.value - before.value) / (abs(before.value) or 1.0)
        latest[node_of(sample.version)] = sample


def _moment(samples: Sequence[Sample], start: float, end: float, change: float) -> float:
    """The moment within the span at which the measured numbers change most nearly by `change`."""
    inside = [one for one in samples if start <= one.taken <= end]
    best, nearest = end, inf
    for before, after in pairwise(inside):
        far = abs((after.value - before.value) / (abs(before.value) or 1.0) - change)
        if far < nearest:
            best, nearest = after.taken, far
    return best


def _differ(samples: Sequence[Sample], builds: bool) -> str:
    """In words, how runs of one build differ, or how all builds of a commit do if `builds` is set; empty if
    they don't."""
    values: dict[tuple[object, ...], set[float]] = defaultdict(set)
    for sample in samples:
        name = (*node_of(sample.version), "" if builds else sample.version.digest)
        values[name] |= {sample.value - sample.spread / 2, sample.value + sample.spread / 2}
    apart = {name: found for name, found in values.items() if len(found) > 1}
    if not apart:
        return ""
    worst = max(apart, key=lambda name: max(apart[name]) - min(apart[name]))
    version = next(one.version for one in samples if node_of(one.version) == worst[:2])
    low, high = min(apart[worst]), max(apart[worst])
    most = f"{version.described or version.commit[:12]} gave {low:.10g} to {high:.10g}"
    return f"{most}, and so did {len(apart) - 1} others" if len(apart) > 1 else most


def by_version(samples: Iterable[Sample]) -> dict[Node, list[Sample]]:
    """Group the samples by version."""
    found: dict[Node, list[Sample]] = defaultdict(list)
    for sample in samples:
        found[node_of(sample.version)].append(sample)
    return found


def value_of(samples: Iterable[Sample]) -> float:
    """The median of the samples, without those that are NaN."""
    ones = list(samples)
    if len(ones) == 1:
        return ones[0].value if isfinite(ones[0].value) else float("nan")
    finite = [sample.value for sample in ones if isfinite(sample.value)]
    return median(finite) if finite else float("nan")
