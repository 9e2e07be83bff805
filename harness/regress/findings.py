"""Findings of a whole history: steps in all series, held to one false-discovery rate, one number for one cause."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
from scipy.stats import false_discovery_control

from harness.measure import Sample, Version
from harness.regress import Finding, Night
from harness.regress.changes import (
    LEVEL,
    Change,
    Looked,
    Outlier,
    changes,
    exact_changes,
    exact_outliers,
    look,
)

RATE = LEVEL
"""The share of series with a finding, but no change, among all series with a finding, on average; for one series,
the chance of a false finding."""


@dataclass(frozen=True, slots=True)
class Series:
    """Comparable samples, one point a version in the order of commits: the median of the version's samples."""

    samples: tuple[Sample, ...]
    versions: tuple[Version, ...]
    times: tuple[float, ...]
    values: tuple[float, ...]
    counts: tuple[int, ...]
    taken: tuple[float, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether its metric has no noise."""
        return self.samples[0].metric.exact

    def finding(self, change: Change) -> Finding:
        """The change in terms of versions."""
        first, index = self.samples[0], change.index
        return Finding(
            first.metric,
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
            first.metric,
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
        """From when until when, in commit time, the change may have come: after the first, up to the second."""
        return self.times[change.earliest - 1], self.times[change.latest]


def series_of(samples: Iterable[Sample]) -> list[Series]:
    """The samples by series, each in the order of its versions' commits, or of measuring where one has no time.

    Samples of different fingerprints are never in one series. Samples of one version are replicates, wherever they
    stand in the history.
    """
    groups: dict[tuple[str, str, str, str], list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.series, []).append(sample)
    return [_ordered(group) for _, group in sorted(groups.items())]


@dataclass(frozen=True, slots=True)
class Judged:
    """What a history says: changes that the statistics stand behind, what is worth a rerun, nights alone."""

    findings: list[Finding]
    suspicions: list[Finding]
    nights: list[Night]


def judge(samples: Iterable[Sample], rate: float = RATE) -> Judged:
    """Look at each series once.

    Benjamini and Hochberg's procedure chooses the series with findings; those few are searched at the level that
    it leaves them (Benjamini and Bogomolov 2014). It holds under the positive dependence that series of the same
    runs have (Benjamini and Yekutieli 2001). Exact metrics need no chance and take no part in it.
    """
    looked = [(series, series.look()) for series in series_of(samples)]
    exact = [(series, step) for series, seen in looked if series.exact for step in seen.steps]
    best = [(series, seen.best.probability) for series, seen in looked if seen.best]
    found = list(exact)
    if best:
        chances = false_discovery_control([chance for _, chance in best], method="bh")
        chosen = [series for (series, _), chance in zip(best, chances, strict=True) if chance <= rate]
        level = rate * len(chosen) / len(best)
        found += [(series, step) for series in chosen for step in changes(series.values, level)]
    suspected = [(series, step) for series, seen in looked for step in seen.steps]
    nights = [series.night(one) for series, seen in looked for one in seen.outliers]
    nights.sort(key=lambda one: (one.taken, one.metric.name, one.cell))
    return Judged(_with_causes(found), _with_causes(suspected), nights)


def findings(samples: Iterable[Sample], rate: float = RATE) -> list[Finding]:
    """The changes of all series that the statistics stand behind, by time, then by cause."""
    return judge(samples, rate).findings


def suspicions(samples: Iterable[Sample]) -> list[Finding]:
    """What is worth a rerun of its `span`'s two versions, and not to be shown before one confirms it."""
    return judge(samples).suspicions


def _ordered(samples: Sequence[Sample]) -> Series:
    by_version: dict[tuple[str, str], list[Sample]] = {}
    for sample in sorted(samples, key=lambda one: one.taken):
        by_version.setdefault((sample.version.commit, sample.version.digest), []).append(sample)
    committed = all(sample.version.committed > 0 for sample in samples)
    times = {key: group[0].version.committed if committed else group[0].taken for key, group in by_version.items()}
    groups = [
        by_version[key] for key in sorted(by_version, key=lambda key: (times[key], by_version[key][0].taken))
    ]
    return Series(
        tuple(samples),
        tuple(group[0].version for group in groups),
        tuple(times[group[0].version.commit, group[0].version.digest] for group in groups),
        tuple(_value(group) for group in groups),
        tuple(len(group) for group in groups),
        tuple(group[0].taken for group in groups),
    )


def _value(group: Sequence[Sample]) -> float:
    finite = [sample.value for sample in group if np.isfinite(sample.value)]
    return median(finite) if finite else float("nan")


def _with_causes(found: Sequence[tuple[Series, Change]]) -> list[Finding]:
    """One number for all steps of one kernel that one moment can explain: as few moments as can be (the greedy
    cover of intervals by points). Different kernels have no commit in common."""
    numbered: list[tuple[float, Finding]] = []
    moments: dict[str, tuple[float, int]] = {}
    cause = 0
    for series, change in sorted(found, key=lambda one: one[0].span(one[1])[::-1]):
        start, end = series.span(change)
        kernel = _kernel(series.samples[0].cell)
        moment, number = moments.get(kernel, (-np.inf, 0))
        if start >= moment:
            cause += 1
            moments[kernel] = (end, cause)
            number = cause
        numbered.append((series.times[change.index], replace(series.finding(change), cause=number)))
    ordered = sorted(numbered, key=lambda one: (one[0], one[1].cause, one[1].metric.name, one[1].cell))
    return [finding for _, finding in ordered]


def _kernel(cell: str) -> str:
    """`linux` of `linux:qemu-rofs`."""
    return cell.partition(":")[0] if ":" in cell else ""
