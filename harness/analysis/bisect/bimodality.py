"""Tells whether boots of the same build fall into two groups."""

from collections.abc import Sequence

import numpy as np

from harness.analysis.regression.mixture_noise import Modes

FEWEST = 40
"""With fewer boots in all, two modes can't be told from noise."""
APART = 2.5
"""Ashman's D from which two modes count as separate (Ashman, Bird and Zepf 1994: above 2)."""
RAREST = 0.05
"""A mode with a smaller share is outliers."""
BETTER = 10.0
"""By how much the log likelihood of two modes must exceed that of one, in addition to the BIC penalty."""


def bimodal(builds: Sequence[Sequence[float]]) -> bool:
    """Judge all boots together, each relative to the median of its build."""
    parts = [np.asarray(values, dtype=float) - np.median(values) for values in builds if len(values) >= 8]
    if sum(map(len, parts)) < FEWEST:
        return False
    left = np.concatenate(parts)
    deviation = float(left.std())
    if deviation == 0:
        return False
    left = left / deviation
    # outliers would widen one of two modes and hide both
    left = left[np.abs(left) < 5]
    ordered = np.sort(left)
    counts = np.arange(1, len(ordered))
    excess = ordered.sum() * counts / len(ordered) - np.cumsum(ordered)[:-1]
    cut = int((excess**2 / (counts * (len(ordered) - counts))).argmax()) + 1
    low, high = ordered[:cut], ordered[cut:]
    start = Modes(
        np.array([len(low), len(high)]) / len(ordered),
        np.array([low.mean(), high.mean()]),
        np.array([low.std(), high.std()]) + 0.05,
    )
    modes = start.fitted(left, 0.05, 40)
    one = -len(left) * (np.log(left.std()) + 0.5 * np.log(2 * np.pi) + 0.5)
    gain = float(modes.logs(left).sum() - one) - 1.5 * np.log(len(left))
    distance = float(np.sqrt(2) * abs(modes.means[1] - modes.means[0]) / np.hypot(*modes.deviations))
    return gain > BETTER and distance > APART and float(modes.shares.min()) > RAREST
