"""Analyses a whole history: finds the steps of all series at one false-discovery rate, and numbers their
causes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

import numpy as np
from scipy.stats import false_discovery_control

from harness.analysis.regression.ancestry import Graph
from harness.analysis.regression.change_points import LEVEL, Change, Suspect
from harness.analysis.regression.finding import Finding, OutlierNight
from harness.analysis.regression.grouping import kernel_of
from harness.analysis.regression.series import NO_GRAPH, Samples, Series, numbers
from harness.metrics.records import Version

RATE = LEVEL
"""The false-discovery rate: the mean share of series without a change among all series with a finding. For a
single series it is the probability of a false finding."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step in its series, with the number of its cause. Its size is worked out for a finding alone."""

    series: Series
    step: Suspect | Change
    cause: int

    @property
    def about(self) -> str:
        """As of `about`."""
        first, versions = self.series.samples[0], self.series.versions
        name, before, after = first.metric.name, versions[self.step.last], versions[self.step.index]
        return _about(name, first.subject, first.cell, before, after)

    @property
    def finding(self) -> Finding:
        """The step in terms of versions, with its size."""
        change = self.step if isinstance(self.step, Change) else self.step.sized()
        return replace(self.series.finding(change), cause=self.cause)


@dataclass(frozen=True, slots=True)
class HistoryAnalysis:
    """The result of an analysis: steps that the statistics stand behind, steps that deserve a rerun, and outlier
    nights."""

    found: list[Step]
    suspected: list[Step]
    nights: list[OutlierNight]

    @property
    def findings(self) -> list[Finding]:
        """The steps that the statistics stand behind."""
        return [one.finding for one in self.found]

    @property
    def suspicions(self) -> list[Finding]:
        """What is worth a rerun."""
        return [one.finding for one in self.suspected]


def about(one: Finding) -> str:
    """What a rerun is about: a step in a series, by the commits between which it lies."""
    return _about(one.metric.name, one.subject, one.cell, one.before, one.after)


def _about(metric: str, subject: str, cell: str, before: Version, after: Version) -> str:
    return f"{metric} {subject} {cell} {before.commit[:12]}..{after.commit[:12]}"


def judge(samples: Samples, rate: float = RATE, graph: Graph = NO_GRAPH, branch: str = "") -> HistoryAnalysis:
    """Analyse each series once, along the first parents of `branch`.

    Benjamini and Hochberg's procedure selects the series with findings, which are then searched at the level that
    it leaves them (Benjamini and Bogomolov 2014). It holds under the positive dependence of series from the same
    runs (Benjamini and Yekutieli 2001). Exact metrics have no noise and take no part in it.
    """
    every = numbers(samples, graph, branch)
    looked = every.looked
    exact = [(series, step) for series, seen in looked if series.exact for step in seen.suspects]
    best = [(series, seen.best.probability) for series, seen in looked if seen.best]
    found: list[tuple[Series, Suspect | Change]] = list(exact)
    if best:
        chances = false_discovery_control([chance for _, chance in best], method="bh")
        chosen = [series for (series, _), chance in zip(best, chances, strict=True) if chance <= rate]
        level = rate * len(chosen) / len(best)
        found += [(series, step) for series in chosen for step in every.scan(series).changes(level)]
    suspected = [(series, step) for series, seen in looked for step in seen.suspects]
    nights = [series.night(one) for series, seen in looked for one in seen.outliers]
    nights.sort(key=lambda one: (one.taken, one.metric.name, one.cell))
    return HistoryAnalysis(_with_causes(found), _with_causes(suspected), nights)


def findings(
    samples: Samples, rate: float = RATE, graph: Graph = NO_GRAPH, branch: str = ""
) -> list[Finding]:
    """The changes of all series that the statistics stand behind, by time, then by cause."""
    return judge(samples, rate, graph, branch).findings


def suspicions(samples: Samples, graph: Graph = NO_GRAPH, branch: str = "") -> list[Finding]:
    """The changes that deserve a rerun of the two versions of their `span`. Don't show them before one
    confirmed them."""
    return judge(samples, graph=graph, branch=branch).suspicions


def _with_causes(found: Sequence[tuple[Series, Suspect | Change]]) -> list[Step]:
    """Number the causes: steps of one kernel that one moment can explain have the same number.

    There are as few moments as possible (the greedy cover of intervals by points). Different kernels have no
    commit in common.
    """
    numbered: list[tuple[tuple[float, int, str, str], Step]] = []
    moments: dict[str, tuple[float, int]] = {}
    cause = 0
    for series, step in sorted(found, key=lambda one: one[0].span(one[1])[::-1]):
        start, end = series.span(step)
        kernel = kernel_of(series.samples[0].cell)
        moment, number = moments.get(kernel, (-np.inf, 0))
        if start >= moment:
            cause += 1
            moments[kernel] = (end, cause)
            number = cause
        first = series.samples[0]
        place = series.times[step.index], number, first.metric.name, first.cell
        numbered.append((place, Step(series, step, number)))
    return [one for _, one in sorted(numbered, key=itemgetter(0))]
