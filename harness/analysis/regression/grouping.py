"""Which samples may be compared: the one place that says so, for findings, plots and reports alike.

`Sample.series` says it of what was recorded. An exact number depends on what built it, which older samples don't
say: there the host stands for its builder, and so does what two builds of one commit show. And a number that is
said to be exact is believed as long as one build gives one number.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import inf
from operator import attrgetter

from harness.analysis.regression.ancestry import node_of
from harness.core import facts
from harness.metrics.records import Metric, Sample

FEW = 3
"""More hosts than this, and more than one for two runs, are machines of the moment, whose names say nothing."""

UNRECORDED = "unrecorded change"
"""The name of what became another between two builds of one commit, though nothing that is recorded did."""

ALIKE = 0.1
"""Two changes between builders are the same one where they differ by no more than this share of it."""


@dataclass(frozen=True, slots=True)
class Group:
    """Samples that may be compared. `builder` is what built them, or stands for it; `exact` is whether they have
    no noise; `doubt` is why not, where their metric says that they have none."""

    samples: Sequence[Sample]
    builder: str
    exact: bool
    doubt: str = ""

    @property
    def metric(self) -> Metric:
        """What was measured."""
        return self.samples[0].metric


def kernel_of(cell: str) -> str:
    """`linux` of `linux:qemu-rofs`."""
    return cell.partition(":")[0] if ":" in cell else ""


def grouped(samples: Sequence[Sample]) -> list[Group]:
    """The samples in groups, by metric, cell, subject and fingerprint; each group in the order of measuring."""
    by_series: dict[tuple[str, ...], list[Sample]] = defaultdict(list)
    prints: dict[tuple[int, int, str, str], str] = {}
    for sample in samples:
        # What makes the series is looked up by the parts themselves, which many samples of a history share.
        metric = sample.metric
        parts = id(metric), id(sample.environment), sample.version.builder, sample.procedure
        if (print_ := prints.get(parts)) is None:
            print_ = prints[parts] = sample.series[-1]
        by_series[metric.name, sample.cell, sample.subject, print_].append(sample)
    of_the_moment = _hosts_of_the_moment(by_series.values())
    groups = []
    for _, alike in sorted(by_series.items()):
        _sort_by_time(alike)
        if not alike[0].metric.exact:
            groups.append(Group(alike, alike[0].version.builder, exact=False))
            continue
        by_builder: dict[str, list[Sample]] = defaultdict(list)
        for sample in alike:
            by_builder[builder_of(sample, of_the_moment)].append(sample)
        for builder, built in by_builder.items():
            groups += _by_time(built, builder)
    return groups


def _sort_by_time(samples: list[Sample]) -> None:
    """In the order of measuring, whatever order they came in."""
    samples.sort(key=attrgetter("taken"))
    if any(before.taken == after.taken for before, after in pairwise(samples)):
        samples.sort(key=attrgetter("taken", "version.committed", "id", "version.digest", "value"))


def builder_of(sample: Sample, of_the_moment: Mapping[str, bool]) -> str:
    """What built the sample's kernel; where that is not recorded, the host, and the kernel that it ran then."""
    if sample.version.builder:
        return sample.version.builder
    where = sample.environment
    return _host_words("" if of_the_moment[kernel_of(sample.cell)] else where.host, where.host_kernel)


@lru_cache(maxsize=4096)
def _host_words(host: str, host_kernel: str) -> str:
    """A host as a builder's facts. A history has a million samples, and they share these few."""
    return facts.format_facts({"host": host, "host kernel": host_kernel})


def _hosts_of_the_moment(groups: Iterable[Sequence[Sample]]) -> dict[str, bool]:
    """Of each kernel, whether the names of hosts that measured it seldom come back."""
    hosts: dict[str, set[str]] = defaultdict(set)
    runs: dict[str, set[str]] = defaultdict(set)
    for samples in groups:
        kernel = kernel_of(samples[0].cell)
        exact = samples if samples[0].metric.exact else ()
        hosts[kernel] |= {one.environment.host for one in exact}
        runs[kernel] |= {one.run for one in exact}
    return {kernel: len(found) > max(FEW, len(runs[kernel]) / 2) for kernel, found in hosts.items()}


def _by_time(samples: Sequence[Sample], builder: str) -> list[Group]:
    """Exact samples of one builder as far as is recorded: parted where two builds of one commit say that it became
    another, or taken for noise where what they say can't be."""
    if len({node_of(one.version) for one in samples}) == len(samples) and not any(one.spread for one in samples):
        return [Group(samples, builder, exact=True)]  # nothing was measured twice, so nothing differs
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


def _moments(samples: Sequence[Sample]) -> list[float] | None:
    """When the builder became another, by the fewest moments that explain all builds of one commit that differ;
    None where it would have become the same one twice."""
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
    """Until when, from when on, and by what share the number became another for the same commit."""
    latest: dict[tuple[str, bool], Sample] = {}
    for sample in samples:
        before = latest.get(node_of(sample.version), sample)
        if before.version.digest != sample.version.digest and before.value != sample.value:
            yield sample.taken, before.taken, (sample.value - before.value) / (abs(before.value) or 1.0)
        latest[node_of(sample.version)] = sample


def _moment(samples: Sequence[Sample], start: float, end: float, change: float) -> float:
    """Within the span, where the numbers as they were taken changed most nearly so."""
    inside = [one for one in samples if start <= one.taken <= end]
    best, nearest = end, inf
    for before, after in pairwise(inside):
        far = abs((after.value - before.value) / (abs(before.value) or 1.0) - change)
        if far < nearest:
            best, nearest = after.taken, far
    return best


def _differ(samples: Sequence[Sample], builds: bool) -> str:
    """How runs of one build, or all of one commit's `builds`, differ, where they do."""
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
