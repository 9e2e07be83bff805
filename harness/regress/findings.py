"""Findings of a whole history: steps in all series, held to one false-discovery rate, one number for one cause."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from scipy.stats import false_discovery_control

from harness.measure import Sample
from harness.regress import Finding
from harness.regress.ancestry import Graph
from harness.regress.changes import LEVEL, SUSPICION, Change, changes, exact_changes, strongest, suspects
from harness.regress.grouping import kernel_of
from harness.regress.series import NO_GRAPH, Series, series_of

RATE = LEVEL
"""The share of series with a finding, but no change, among all series with a finding, on average; for one series,
the chance of a false finding."""


def findings(
    samples: Iterable[Sample], rate: float = RATE, graph: Graph = NO_GRAPH, branch: str = ""
) -> list[Finding]:
    """The changes of all series that the statistics stand behind, by time, then by cause.

    Benjamini and Hochberg's procedure chooses the series; those few are searched at the level that it leaves them
    (Benjamini and Bogomolov 2014). It holds under the positive dependence that series of the same runs have
    (Benjamini and Yekutieli 2001). Exact metrics need no chance and take no part in it.
    """
    every = series_of(samples, graph, branch)
    found = [(series, change) for series in every if series.exact for change in exact_changes(series.values)]
    noisy = [series for series in every if not series.exact]
    best = {index: step for index, series in enumerate(noisy) if (step := strongest(series.values))}
    if best:
        chances = false_discovery_control([step.probability for step in best.values()], method="bh")
        chosen = [index for index, chance in zip(best, chances, strict=True) if chance <= rate]
        for index in chosen:
            series = noisy[index]
            found += [(series, one) for one in changes(series.values, rate * len(chosen) / len(best))]
    return _with_causes(found)


def suspicions(
    samples: Iterable[Sample], suspicion: float = SUSPICION, graph: Graph = NO_GRAPH, branch: str = ""
) -> list[Finding]:
    """What is worth a rerun of its `span`'s two versions, and not to be shown before one confirms it."""
    found = []
    for series in series_of(samples, graph, branch):
        if series.exact:
            found += [(series, change) for change in exact_changes(series.values)]
        else:
            found += [(series, change) for change in suspects(series.values, suspicion=suspicion)]
    return _with_causes(found)


def _with_causes(found: Sequence[tuple[Series, Change]]) -> list[Finding]:
    """One number for all steps of one kernel that one moment can explain: as few moments as can be (the greedy
    cover of intervals by points). Different kernels have no commit in common."""
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
