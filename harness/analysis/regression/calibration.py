"""Converts evidence into probabilities: how often quiet series show as much, by simulation of the worst kind of
noise."""

import numpy as np

CHANCES = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01)
SURPRISES: dict[int, tuple[float, ...]] = {
    10: (-5.52, -4.82, -4.27, -3.59, -2.39, -1.64),
    20: (-4.26, -3.18, -2.5, -1.78, -1.12, -0.33),
    40: (-3.53, -2.56, -1.94, -1.16, -0.4, 0.17),
    80: (-3.79, -2.99, -2.37, -1.66, -0.45, 0.48),
    130: (-3.46, -2.59, -2.09, -1.51, -0.56, 0.43),
    200: (-3.28, -2.17, -1.46, -0.84, -0.14, 0.51),
    300: (-3.08, -1.68, -0.85, -0.07, 0.58, 1.25),
    400: (-2.84, -1.52, -0.62, 0.46, 1.23, 1.89),
}


def probability(surprise: float, length: int) -> float:
    """The probability that a quiet series of this length shows more surprise, rounded up.

    Beyond the last simulated value it falls by a factor of e for each unit, as a likelihood ratio does (Ville
    1939).
    """
    lengths = sorted(SURPRISES)
    table = np.array([SURPRISES[one] for one in lengths])
    at = np.array([np.interp(length, lengths, column) for column in table.T])
    if surprise >= at[-1]:
        return float(CHANCES[-1] * np.exp(at[-1] - surprise))
    if surprise <= at[0]:
        return float(min(1.0, CHANCES[0] * np.exp(at[0] - surprise)))
    return float(np.exp(np.interp(surprise, at, np.log(CHANCES))))
