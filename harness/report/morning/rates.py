"""Decides whether a test is broken, flaky or well, by a hidden Markov model of its runs whose rates of error are
known.

A test is in one of ten states from run to run: well (it fails by accident once in 1,000 runs), flaky at one of
eight rates, or broken. It seldom changes state; the chances are in `_moves`. The forward algorithm gives the
probability of each state after the last run, the Viterbi algorithm the likeliest sequence of states (Rabiner
1989). `tests/selftest/report/test_morning_rates.py` measures how often the model is wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np
from scipy import stats

ACCIDENT = 0.001
"""The rate at which a test fails that is well."""
RATES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8)
"""The rates of failure of the flaky states: the true rate of a flaky test is near one of them."""
OFTEN = (0.2, 0.2, 0.2, 0.15, 0.1, 0.08, 0.04, 0.03)
"""The share of flaky tests with each of these rates. Those that fail often are few, since somebody soon mends
them."""
SURE = 0.9
"""The probability from which a state is taken to be certain."""
INTERVAL = 0.95
"""The confidence of intervals of rates."""
MOST_KNOWN = 20_000
"""Sequences of runs whose failure pattern is cached."""
LONGEST = 400
"""Only the newest runs, so many of them, are looked at."""

_BAD = np.array([ACCIDENT, *RATES, 0.995])
_KINDS = np.array([0, *[1] * len(RATES), 2])


class PatternKind(StrEnum):
    """What a test is, judged by its runs. `UNDECIDED` fails now, and has run too seldom to tell whether it is
    broken or flaky."""

    WELL = "well"
    FLAKY = "flaky"
    BROKEN = "broken"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True)
class FailurePattern:
    """What the runs of a test tell.

    - `kind` is what the test is now, `before` what it was before that.
    - `began` is the index of the first run of the present state, or 0. Since then `bad` of `runs` failed.
    - `rate` is how often it has failed since then, and `interval` the 95% confidence interval of that. The first
      failure is left out of both, because it decides where counting begins.
    - `clean` is whether no run before `began` failed and all runs since did.
    """

    kind: PatternKind
    before: PatternKind
    began: int
    bad: int
    runs: int
    rate: float
    interval: tuple[float, float]
    clean: bool


def failure_pattern(failed: Sequence[bool]) -> FailurePattern:
    """Classify a test by its runs, oldest first: whether each of them failed."""
    return _failure_pattern(bytes(map(bool, failed)))


@lru_cache(maxsize=MOST_KNOWN)
def _failure_pattern(failed: bytes) -> FailurePattern:
    """As `failure_pattern`, of a byte a run, 1 for a failure. Cached, since several parts of a report ask for
    the same runs."""
    runs = np.frombuffer(failed, dtype=bool)
    offset = max(0, len(runs) - LONGEST)
    runs = runs[offset:]
    if not runs.any():
        well = PatternKind.WELL
        return FailurePattern(well, well, 0, 0, len(runs), 0.0, interval(0, len(runs)), clean=True)
    path = _KINDS[_likeliest(runs)]
    kind = _now(_chances(runs), runs)
    changes = np.flatnonzero(np.diff(path)) + 1
    began = int(changes[-1]) if len(changes) else 0
    if kind is PatternKind.UNDECIDED:
        began = _streak(runs)
    elif kind is PatternKind.FLAKY and path[-1] != 1:
        # The likeliest way ends elsewhere: what it has gone through since it was last well is all one.
        good = np.flatnonzero(path == 0)
        began = int(good[-1]) + 1 if len(good) and good[-1] + 1 < len(path) else 0
    began = _first_failure(runs, began, kind)
    before = list(PatternKind)[path[began - 1]] if began else PatternKind.WELL
    since = runs[began:]
    counted = since[1:] if kind is not PatternKind.WELL and began and len(since) > 1 else since
    rate = float(counted.mean()) if len(counted) else 0.0
    clean = bool(since.all() and not runs[:began].any())
    return FailurePattern(
        kind, before, began + offset, int(since.sum()), len(since), rate,
        interval(int(counted.sum()), len(counted)), clean,
    )  # fmt: skip


def chance_of_failure(failed: Sequence[bool]) -> float:
    """How likely the next run is to fail, after these, the oldest first: recent ones tell most."""
    runs = np.array(failed[-LONGEST:], dtype=bool)
    ahead = _chances(runs) @ _MOVES if len(runs) else _FIRST
    return float(ahead @ _BAD)


def interval(bad: int, runs: int) -> tuple[float, float]:
    """The 95% confidence interval of a rate of failure (Clopper and Pearson 1934)."""
    rest = (1 - INTERVAL) / 2
    low = float(stats.beta.ppf(rest, bad, runs - bad + 1)) if bad else 0.0
    high = float(stats.beta.ppf(1 - rest, bad + 1, runs - bad)) if bad < runs else 1.0
    return low, high


def rate_changed(before: tuple[int, int], after: tuple[int, int]) -> bool:
    """Whether a rate of failure has changed. Each side is a number of failures and a number of runs. Fisher's
    exact test, wrong once in 1,000 times."""
    table = [[before[0], before[1] - before[0]], [after[0], after[1] - after[0]]]
    return bool(min(before[1], after[1]) and stats.fisher_exact(table)[1] < 0.001)


def _now(chances: np.ndarray, runs: np.ndarray) -> PatternKind:
    """What the test is now, given the probability of each state. A single failure is never more than undecided."""
    well, flaky, broken = (float(chances[kind == _KINDS].sum()) for kind in range(3))
    if well >= SURE or (not runs[-1] and well > max(flaky, broken)):
        return PatternKind.WELL
    if broken >= SURE:
        return PatternKind.BROKEN
    if flaky >= SURE or (flaky > max(well, broken) and runs.sum() > 1 and not runs[-1]):
        return PatternKind.FLAKY
    return PatternKind.UNDECIDED if runs[-1] else PatternKind.WELL


def _streak(runs: np.ndarray) -> int:
    """The index at which the failures at the end of the runs begin."""
    good = np.flatnonzero(~runs)
    return int(good[-1]) + 1 if len(good) else 0


def _first_failure(runs: np.ndarray, began: int, kind: PatternKind) -> int:
    """The index of the first failure from `began` on, where a state other than well begins; `began` itself for
    well."""
    if kind is PatternKind.WELL:
        return began
    later = np.flatnonzero(runs[began:])
    return began + int(later[0]) if len(later) else began


def _moves() -> np.ndarray:
    """The probability of each change of state between two runs: a square matrix, from the row's state to the
    column's."""
    size, often = len(_BAD), np.array(OFTEN)
    to_well, to_flaky, to_broken = 0, slice(1, size - 1), size - 1
    moves = np.zeros((size, size))
    moves[0, to_flaky], moves[0, to_broken] = 0.004 * often, 0.005
    moves[1:-1, to_well], moves[1:-1, to_broken] = 0.004, 0.002
    moves[1:-1, to_flaky] += 0.002 * often
    moves[-1, to_well], moves[-1, to_flaky] = 0.01, 0.002 * often
    np.fill_diagonal(moves, 0)
    np.fill_diagonal(moves, 1 - moves.sum(axis=1))
    return moves


_MOVES = _moves()
_FIRST = np.array([0.97, *(0.015 * share for share in OFTEN), 0.015])


def _chances(runs: np.ndarray) -> np.ndarray:
    """The probability of each state after the last run (the forward algorithm)."""
    chances = _FIRST
    for number, failed in enumerate(runs):
        ahead = chances if not number else chances @ _MOVES
        chances = ahead * (_BAD if failed else 1 - _BAD)
        chances = chances / chances.sum()
    return chances


def _likeliest(runs: np.ndarray) -> np.ndarray:
    """The likeliest sequence of states, as an index for each run (the Viterbi algorithm)."""
    log_chances = {True: np.log(_BAD), False: np.log(1 - _BAD)}
    moves = np.log(_MOVES)
    best = np.log(_FIRST) + log_chances[bool(runs[0])]
    origins = np.zeros((len(runs), len(_BAD)), dtype=int)
    for number in range(1, len(runs)):
        ways = best[:, None] + moves
        origins[number] = ways.argmax(axis=0)
        best = ways.max(axis=0) + log_chances[bool(runs[number])]
    path = [int(best.argmax())]
    for number in range(len(runs) - 1, 0, -1):
        path.append(int(origins[number][path[-1]]))
    return np.array(path[::-1])
