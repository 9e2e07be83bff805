"""Confirms a suspected change by reruns before it is shown: new pairs of measurements before and after it."""

from collections.abc import Callable
from dataclasses import dataclass
from math import log1p
from random import Random

import numpy as np

from harness.analysis.ab.sequential_test import Comparison, Decision, Judgement
from harness.metrics.records import Metric

LEVEL = 0.002
"""The probability that a suspected change which does not exist is confirmed; half of it in the suspected
direction."""
MOST = 30
"""The most pairs of reruns for one suspicion. A pair is two boots."""
FEWEST = 5
"""Pairs before a suspicion may be dropped."""
HOPELESS = 2.0
"""A suspicion is dropped if the mean of the reruns plus so many standard errors is less than half of the
suspected change."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """The result of the reruns; each of `pairs` cost one measurement of either version."""

    confirmed: bool
    pairs: int
    judgement: Judgement


def confirm(
    metric: Metric,
    change: float,
    rerun: Callable[[tuple[str, str]], tuple[float, float]],
    dice: Random,
    level: float = LEVEL,
    most: int = MOST,
) -> Confirmation:
    """Rerun until the suspected relative change is confirmed, hopeless, or `most` pairs are used.

    `rerun` measures the version before ("a") and the one after ("b") once each, in the given order, and returns
    (value before, value after). The values of the history don't count, so what raised the suspicion can't confirm
    it. Giving up early never raises the probability of a false confirmation, so that rule need not be exact.
    """
    comparison = Comparison([metric], level, most, interesting=0.0)
    values: list[tuple[float, float]] = []
    while not comparison.done and not _hopeless(values, change):
        values.append(rerun(comparison.order(dice)))
        comparison.add({metric.name: values[-1]})
    judgement = comparison.judgements()[metric.name]
    changed = judgement.decision is Decision.CHANGED and judgement.change is not None
    confirmed = changed and (judgement.change or 0.0) * change > 0
    return Confirmation(confirmed, comparison.pairs, judgement)


def _hopeless(values: list[tuple[float, float]], change: float) -> bool:
    if len(values) < FEWEST:
        return False
    pairs = np.asarray(values)
    if (pairs > 0).all() and change > -1:
        differences, expected = np.log(pairs[:, 1] / pairs[:, 0]), log1p(change)
    else:
        differences, expected = pairs[:, 1] - pairs[:, 0], change * (abs(float(np.median(pairs[:, 0]))) or 1.0)
    towards = differences * np.sign(expected)
    highest = towards.mean() + HOPELESS * towards.std(ddof=1) / np.sqrt(len(towards))
    return bool(highest < abs(expected) / 2)
