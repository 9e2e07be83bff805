"""Run by the Python of Otava's own environment: series from standard input, change points to standard output.

Otava 0.8 slices its windows rightly only where a series is a list, as its own command passes it, so it gets lists.
"""

import json
import sys

from otava.analysis import compute_change_points  # type: ignore[import-not-found]


def points(series: list[float], most: float) -> list[int]:
    """Otava's change points at this greatest p-value, all else as it comes."""
    return [int(point.index) for point in compute_change_points(list(series), max_pvalue=most)[0]]


if __name__ == "__main__":
    asked = json.load(sys.stdin)
    json.dump([[points(one, most) for most in asked["most"]] for one in asked["series"]], sys.stdout)
