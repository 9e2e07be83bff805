"""Analyses a whole history: finds the steps of all series at one false-discovery rate, and numbers their
causes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import false_discovery_control

from harness.analysis.regression.ancestry import Graph
from harness.analysis.regression.change_points import LEVEL, Change
from harness.analysis.regression.finding import Finding, OutlierNight
from harness.analysis.regression.grouping import kernel_of
from harness.analysis.regression.series import NO_GRAPH, Samples, Series, numbers

RATE = LEVEL
"""The false-discovery rate: the mean share of series without a change among all series with a finding. For a
single series it is the probability of a false finding."""


@dataclass(frozen=True, slots=True)
class HistoryAnalysis:
    """The result of an analysis: changes that the statistics stand behind, suspicions that deserve a rerun, and
    outlier nights."""

    findings: list[Finding]
    suspicions: list[Finding]
    nights: list[OutlierNight]


def judge(samples: Samples, rate: float = RATE, graph: Graph = NO_GRAPH, branch: str = "") -> HistoryAnalysis:
    """Analyse each series once, along the first parents of `branch`.

    Benjamini and Hochberg's procedure selects the series with findings, which are then searched at the level that
    it leaves them (Benjamini and Bogomolov 2014). It holds under the positive dependence of series from the same
    runs (Benjamini and Yekutieli 2001). Exact metrics have no noise and take no part in it.
    """
    every = numbers(samples, graph, branch)
    looked = every.looked
    exact = [(series, step) for series, seen in looked if series.exact for step in seen.steps]
    best = [(series, seen.best.probability) for series, seen in looked if seen.best]
    found = list(exact)
    if best:
        chances = false_discovery_control([chance for _, chance in best], method="bh")
        chosen = [series for (series, _), chance in zip(best, chances, strict=True) if chance <= rate]
        level = rate * len(chosen) / len(best)
        found += [(series, step) for series in chosen for step in every.scan(series).changes(level)]
    suspected = [(series, step) for series, seen in looked for step in seen.steps]
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


def _with_causes(found: Sequence[tuple[Series, Change]]) -> list[Finding]:
    """Number the causes: steps of one kernel that one moment can explain have the same number.

    There are as few moments as possible (the greedy cover of intervals by points). Different kernels have no
    commit in common.
    """
    numbered: list[tuple[float, Finding]] = []
    moments: dict[str, tuple[float, int]] = {}
    cause = 0
    for series, change in sorted(found, key=lambda one: one[0].span(one[1])[::-1]):
        start, end = series.span(change)
        kernel = kernel_of(series.samples[0].cell)
        moment, number = moments.get(kernel, (-np.inf, 0))
        if start >= moment:
            cause += 1
            moments[kernel] = (end, cause)
            number = cause
        numbered.append((series.times[change.index], replace(series.finding(change), cause=number)))
    ordered = sorted(numbered, key=lambda one: (one[0], one[1].cause, one[1].metric.name, one[1].cell))
    return [finding for _, finding in ordered]
