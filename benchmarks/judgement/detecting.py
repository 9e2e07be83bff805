"""Our detector, alone and with confirming reruns, on the simulated series."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from multiprocessing import Pool
from random import Random

import numpy as np

from benchmarks.judgement import series
from harness.measure import Metric
from harness.regress.changes import LEVEL as LEVEL_ALONE
from harness.regress.changes import suspects
from harness.regress.confirm import confirm
from harness.regress.search import Search

METRIC = Metric("boot.seconds", "s")
NEAR, STRADDLING = 2, 5
"""Points: how near the step a change point must be; with reruns, whose versions lie on both sides of it."""
OFFSET = 100.0
"""What the noise is added to, so that sigma is one percent."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one series: the greatest surprise anywhere and near the step, what the default raised, and the reruns."""

    greatest: float
    near: float
    raised: bool
    found: bool
    suspected: int
    pairs: int
    confirmed: bool
    confirmed_step: bool


def outcomes(count: int, jobs: int) -> dict[tuple[str, bool], list[Outcome]]:
    """By kind of noise and whether there is a step."""
    tasks = [(kind, shifted, number) for kind, shifted, number in _tasks(count)]
    with Pool(jobs) as pool:
        done = pool.starmap(outcome, tasks, chunksize=25)
    found: dict[tuple[str, bool], list[Outcome]] = {}
    for (kind, shifted, _), one in zip(tasks, done, strict=True):
        found.setdefault((kind, shifted), []).append(one)
    return found


def outcome(kind: str, shifted: bool, number: int) -> Outcome:
    """One series, looked at in both ways."""
    dice = series.dice_for(kind, number, shifted)
    values = OFFSET + series.ALL[kind](dice, series.LENGTH)
    levels = series.levels(dice, shifted)
    values = values + levels
    every = Search(values).rest(-1e9, NEAR)
    near = [one.surprise for one in every if abs(one.index - series.BEGINS) <= NEAR]
    listed = suspects(values)
    raised = [one for one in listed if one.probability <= LEVEL_ALONE]
    pairs, confirmed, of_the_step = 0, False, False
    for at, suspect in enumerate(listed):
        before, after = suspect.earliest - 1, suspect.latest
        noise = iter(series.ALL[kind](series.dice_for(kind, number, shifted, at + 1), series.LENGTH))

        def rerun(
            order: tuple[str, str],
            noise: Iterator[float] = noise,
            low: float = levels[before],
            high: float = levels[after],
        ) -> tuple[float, float]:
            measured = {name: OFFSET + next(noise) for name in order}
            return float(measured["a"] + low), float(measured["b"] + high)

        said = confirm(METRIC, suspect.change, rerun, Random(number))
        pairs += said.pairs
        confirmed |= said.confirmed
        near_enough = abs(suspect.index - series.BEGINS) <= STRADDLING
        of_the_step |= said.confirmed and near_enough and before < series.BEGINS <= after
    return Outcome(
        max(one.surprise for one in every),
        max(near, default=-np.inf),
        bool(raised),
        any(abs(one.index - series.BEGINS) <= NEAR for one in raised),
        len(listed),
        pairs,
        confirmed,
        of_the_step,
    )


def _tasks(count: int) -> Iterator[tuple[str, bool, int]]:
    for kind in series.ALL:
        for shifted in (False, True):
            yield from zip(repeat(kind), repeat(shifted), range(count), strict=False)
