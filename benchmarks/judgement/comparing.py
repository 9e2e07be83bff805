"""Simulated comparisons: of equals, and of kernels whose one metric moved by 2% at 2% noise."""

from dataclasses import dataclass
from functools import partial
from multiprocessing import Pool

import numpy as np

from benchmarks.judgement import series
from harness.analysis.ab.sequential_test import Comparison, Decision
from harness.metrics.records import Metric

NOISE, SHIFT = 0.02, 0.02


def heavy(dice: np.random.Generator, length: int) -> series.Array:
    """Student's t of 3 degrees of freedom: outliers."""
    return dice.standard_t(3, size=length) / np.sqrt(3)


KINDS = {**series.KINDS, "heavy tails": heavy}


@dataclass(frozen=True, slots=True)
class Compared:
    """One comparison: false alarms, whether the shifted metric was found (in the right direction), its pairs,
    whether its interval held the truth, all pairs, and how many metrics were surely unchanged."""

    alarms: int
    found: bool
    pairs: int
    held: bool
    all_pairs: int
    unchanged: int


def compare(number: int, metrics: int, shift: float, nights: bool = False) -> Compared:
    """One comparison over so many metrics, each of its own kind of noise in turn; `shift` moves the first, whose
    noise is independent and normal; with bad nights among them, or without."""
    dice = np.random.default_rng([series.SEED, 7, number, metrics, int(shift * 1e4)])
    names = [f"metric.{at}" for at in range(metrics)]
    comparison = Comparison([Metric(name, "s") for name in names])
    kinds = list(KINDS.values())
    noise = [1 + NOISE * kinds[at % len(kinds)](dice, 2 * comparison.most) for at in range(metrics)]
    if nights:
        bad = (
            np.random.default_rng([series.SEED, 13, number]).random((metrics, 2 * comparison.most)) < series.SHARE
        )
        noise = [one * np.where(row, series.times_of(number), 1.0) for one, row in zip(noise, bad, strict=True)]
    while not comparison.done:
        at = 2 * comparison.pairs
        a, b = (at, at + 1) if dice.random() < 0.5 else (at + 1, at)
        pair = {name: (float(one[a]), float(one[b])) for name, one in zip(names, noise, strict=True)}
        pair[names[0]] = (pair[names[0]][0], pair[names[0]][1] * (1 + shift))
        comparison.add(pair)
    said = comparison.judgements()
    first = said[names[0]]
    truth = first.interval is not None and first.interval[0] <= shift <= first.interval[1]
    alarms = [
        name for name, one in said.items() if one.decision is Decision.CHANGED and (name != names[0] or not shift)
    ]
    found = first.decision is Decision.CHANGED and (first.change or 0.0) > 0
    unchanged = sum(one.decision is Decision.UNCHANGED for one in said.values())
    return Compared(len(alarms), found, first.pairs, truth, comparison.pairs, unchanged)


def comparisons(count: int, jobs: int, metrics: int, shift: float, nights: bool = False) -> list[Compared]:
    """So many, each with its own dice."""
    with Pool(jobs) as pool:
        return pool.map(partial(compare, metrics=metrics, shift=shift, nights=nights), range(count), chunksize=20)
