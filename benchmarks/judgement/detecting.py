"""Our detector, alone and with confirming reruns, on the simulated series."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing import Pool
from pathlib import Path
from random import Random

import numpy as np

from benchmarks.judgement import series
from harness.analysis.ab import sequential_test, sign_flip_test
from harness.analysis.regression import ar1_noise as noise
from harness.analysis.regression import calibration, mixture_noise, outliers, step_search
from harness.analysis.regression import change_points as changes_of_series
from harness.analysis.regression import confirmation as confirming
from harness.analysis.regression.change_points import LEVEL, Change, changes, look
from harness.analysis.regression.confirmation import confirm
from harness.analysis.regression.step_search import Search
from harness.metrics.records import Metric

METRIC = Metric("boot.seconds", "s")
NEAR, STRADDLING = 2, 5
"""Points: how near the step a change point must be; with reruns, whose versions lie on both sides of it."""
PART = 50
"""Series that one process looks at in one go."""
JUDGES = (
    calibration,
    changes_of_series,
    sequential_test,
    confirming,
    mixture_noise,
    noise,
    outliers,
    step_search,
    series,
    sign_flip_test,
)
"""The modules on which the outcomes depend."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one series: the greatest surprise anywhere and near the step, what the default raised, the reruns; if a
    great step in a series of its own was found; how many nights were told."""

    greatest: float
    near: float
    raised: bool
    found: bool
    suspected: int
    pairs: int
    confirmed: bool
    confirmed_step: bool
    great_found: bool
    told: int


def outcomes(count: int, jobs: int, nights: bool, folder: Path) -> dict[tuple[str, bool], list[Outcome]]:
    """By kind of noise and whether there is a step; with bad nights or without. Kept in the folder for as long as
    the code that judges stays the same."""
    tasks = list(_tasks(count))
    with Pool(jobs) as pool:
        done = pool.starmap(_part, [(*task, nights, folder) for task in tasks], chunksize=1)
    found: dict[tuple[str, bool], list[Outcome]] = {}
    for (kind, shifted, _, _), part in zip(tasks, done, strict=True):
        found.setdefault((kind, shifted), []).extend(part)
    return found


def _part(kind: str, shifted: bool, start: int, end: int, nights: bool, folder: Path) -> list[Outcome]:
    which = f"{list(series.ALL).index(kind)}-{shifted:d}-{nights:d}"
    kept = folder / f"ours-{_code()}-{which}-{start}-{end}.json"
    if not kept.exists():
        every = [asdict(outcome(kind, shifted, number, nights)) for number in range(start, end)]
        unfinished = kept.with_suffix(".part")
        unfinished.write_text(json.dumps(every))
        unfinished.rename(kept)
    return [Outcome(**one) for one in json.loads(kept.read_text())]


@cache
def _code() -> str:
    """What the outcomes depend on, in 12 hex digits."""
    judges = [Path(str(one.__file__)) for one in JUDGES]
    return hashlib.sha256(b"".join(one.read_bytes() for one in judges)).hexdigest()[:12]


def outcome(kind: str, shifted: bool, number: int, nights: bool = False) -> Outcome:
    """One series, looked at in both ways."""
    dice = series.dice_for(kind, number, shifted)
    values = series.OFFSET + series.ALL[kind](dice, series.LENGTH)
    levels = series.levels(dice, shifted)
    values = values + levels
    if nights:
        values = values * series.bad_nights(kind, number, shifted)
    every = Search(values).rest(-1e9, NEAR)
    near = [one.surprise for one in every if abs(one.index - series.BEGINS) <= NEAR]
    seen = look(values)
    listed, raised = seen.steps, [one for one in seen.steps if _is_raised(one)]
    pairs, confirmed, of_the_step = 0, False, False
    for at, suspect in enumerate(listed):
        before, after = suspect.earliest - 1, suspect.latest
        noise = iter(series.ALL[kind](series.dice_for(kind, number, shifted, at + 1), series.LENGTH))
        times = iter(series.bad_nights(kind, number, shifted, at + 1) if nights else np.ones(series.LENGTH))

        def rerun(
            order: tuple[str, str],
            noise: Iterator[float] = noise,
            times: Iterator[float] = times,
            low: float = levels[before],
            high: float = levels[after],
        ) -> tuple[float, float]:
            true = {"a": series.OFFSET + low, "b": series.OFFSET + high}
            measured = {name: float((true[name] + next(noise)) * next(times)) for name in order}
            return measured["a"], measured["b"]

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
        shifted and nights and _great_found(kind, number),
        len(seen.outliers),
    )


def _is_raised(one: Change) -> bool:
    """Whether `changes` has it: what the search gave back may be suspected again."""
    return one.probability <= LEVEL and one.interval[0] * one.interval[1] > 0


def _great_found(kind: str, number: int) -> bool:
    """Whether a 12% step among bad nights is found once, in its place, nothing beside it, surely not of size 0."""
    values, place = series.great(kind, number, nights=True)
    return [abs(one.index - place) <= NEAR and _is_raised(one) for one in changes(values)] == [True]


def _tasks(count: int) -> Iterator[tuple[str, bool, int, int]]:
    for start in range(0, count, PART):
        for kind in series.ALL:
            for shifted in (False, True):
                yield kind, shifted, start, min(count, start + PART)
