"""A suspicion is rerun before it is shown: fresh pairs of what came before it and what came after it."""

from collections.abc import Callable
from dataclasses import dataclass
from math import log1p
from random import Random

import numpy as np

from harness.analysis.ab.sequential_test import Comparison, Decision, Judgement
from harness.metrics.records import Metric

LEVEL = 0.002
"""The chance that one suspicion of nothing is confirmed; half of that in the direction suspected."""
MOST = 30
"""Pairs of reruns for one suspicion; twice as many boots."""
FEWEST = 5
"""Pairs before a suspicion is dropped."""
HOPELESS = 2.0
"""Dropped where the reruns' mean and so many standard errors are less than half of what was suspected."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What the reruns said; `pairs` is their cost, each one measurement of either version."""

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

    `rerun` measures once the version before ("a") and the one after ("b"), in the order it is told, and returns
    (before's, after's) value. Nothing of the history counts, so what made it suspect can't confirm it. Giving up
    early never raises the chance of a false confirmation, so that rule need not be exact.
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
