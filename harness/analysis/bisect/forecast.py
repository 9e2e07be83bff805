"""How far a bisection is: which commits are left, and what it will still cost."""

from dataclasses import dataclass

import numpy as np

from harness.analysis.bisect.exact_search import gaps
from harness.analysis.bisect.likelihood import Array
from harness.analysis.bisect.model import Kind
from harness.analysis.bisect.policy import blocks
from harness.analysis.bisect.posterior import measured_points, posterior
from harness.analysis.bisect.probe_selection import bits_missing
from harness.analysis.bisect.state import State

BARS = " ▁▂▃▄▅▆▇█"
COLUMNS = 40
LEAST = 0.001
"""Commits with less than this share of the largest probability do not count as left."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """`mass` (points) is the probability of each commit to be the culprit; `first` to `last` are the points that
    are left; `likeliest` is the probability of the likeliest set of commits that can't be told apart; `builds` and
    `seconds` estimate what is still to do."""

    mass: Array
    first: int
    last: int
    likeliest: float
    builds: int
    seconds: float

    def sparkline(self, columns: int = COLUMNS) -> str:
        """The probability over the whole range: each column is a stretch of commits, its height their
        probability."""
        shares = np.array([part.sum() for part in np.array_split(self.mass, min(columns, len(self.mass)))])
        heights = np.ceil(shares / max(shares.max(), 1e-12) * (len(BARS) - 1)).astype(int)
        return "".join(BARS[height] for height in heights)

    def __str__(self) -> str:
        left = self.last - self.first + 1
        return (
            f"{left} of {len(self.mass) - 1} commits left |{self.sparkline()}| likeliest {self.likeliest:.0%}, "
            f"about {self.builds} more builds, {self.seconds / 60:.0f} min"
        )


def forecast(state: State) -> Forecast | None:
    """The forecast; None before both ends are measured, or if they do not differ."""
    if not all(state.informative_boots(key) for key in (state.good, state.bad)):
        return None
    if (mass := _mass(state)) is None:
        return None
    left = np.flatnonzero(mass >= LEAST * mass.max())
    builds = int(np.ceil(bits_missing(blocks(state, mass)) - 0.5))
    each = state.build_seconds() + state.boot_seconds() * state.boots / len(state.builds)
    return Forecast(mass, int(left[0]), int(left[-1]), float(blocks(state, mass).max()), builds, builds * each)


def _mass(state: State) -> Array | None:
    if state.measure.kind is Kind.EXACT:
        every = gaps(state)
        return every[0].mass if every else None
    suspects = np.array(state.range.suspects(), dtype=float)
    found = posterior(measured_points(state.measure, state.observations()), suspects / suspects.sum(), None)
    return found.mass if found else None
