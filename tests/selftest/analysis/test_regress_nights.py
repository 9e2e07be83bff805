"""Single bad nights: told as nights, and neither taken for a step nor in the way of one."""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import numpy as np
import pytest

from harness.analysis.regression.change_points import changes, exact_changes, exact_outliers, look, suspects
from harness.analysis.regression.confirmation import confirm
from harness.analysis.regression.findings import findings, judge
from harness.analysis.regression.outliers import outliers
from harness.analysis.regression.triage import KIND, judged, unconfirmed
from harness.metrics.records import Document, Environment, Metric, Sample, Version

HERE = Environment("here", "cpu", 2, "", "tcg", "qemu 7", "6.1")
TIME, COUNT = Metric("boot.seconds", "s"), Metric("boot.instructions", "", exact=True)
LENGTH, BEGINS, STEP, NOISE = 80, 40, 0.12, 0.01
DICE = range(20)


def stepped(seed: int, step: float = STEP, length: int = LENGTH, begins: int = BEGINS) -> np.ndarray:
    """1% noise, and a step."""
    values = 0.5 * (1 + NOISE * np.random.default_rng([7, seed]).normal(size=length))
    values[begins:] *= 1 + step
    return values


def with_modes(seed: int, share: float, length: int = 100) -> np.ndarray:
    """1% noise, and 8% more so often."""
    dice = np.random.default_rng([8, seed])
    return np.asarray(100 * (1 + NOISE * dice.normal(size=length) + 0.08 * (dice.random(length) < share)))


def samples(values: Sequence[float], metric: Metric = TIME) -> list[Sample]:
    """One a night, each of a commit."""
    return [
        Sample(metric, float(one), "osv:a", "", Version(f"c{at}", f"d{at}", "", 1e9 + at), HERE, "run", taken)
        for at, (one, taken) in enumerate(zip(values, 1.7e9 + 86400.0 * np.arange(len(values)), strict=True))
    ]


@pytest.mark.parametrize(
    ("times", "at", "step"),
    [
        (1.4, 35, STEP), (1.4, 37, STEP), (1.4, 39, STEP), (1.4, 40, STEP), (1.4, 43, STEP), (1.4, 45, STEP),
        (2, 3, STEP), (2, 36, STEP), (2, 70, STEP), (10, 10, STEP), (10, 38, STEP), (10, 60, STEP),
        (0.5, 20, STEP), (0.5, 42, STEP), (0.6, 37, -STEP), (0.6, 39, -STEP), (1.4, 38, -STEP),
    ],
)  # fmt: skip
def test_one_bad_night_beside_a_step(times: float, at: int, step: float) -> None:
    held = 0
    for seed in DICE:
        values = stepped(seed, step)
        values[at] *= times
        (one,) = changes(values)
        assert abs(one.index - BEGINS) <= 1 and one.last < BEGINS <= one.index
        assert one.earliest - 1 < BEGINS <= one.latest
        assert at not in {one.earliest - 1, one.latest}, "a rerun would measure the night's version"
        assert one.interval[0] * one.interval[1] > 0, "a finding's interval excludes 0"
        held += one.interval[0] < step < one.interval[1]
        after = np.delete(values, at)[BEGINS:]
        assert after.min() <= one.new_level <= after.max(), "the new level is one that was measured"
        (night,) = look(values).outliers
        assert (night.index, night.length, night.alone) == (at, 1, True)
        level = values[at - 1] if at else values[1]
        assert night.value / night.level == pytest.approx(values[at] / level, rel=0.2)
    assert held >= len(DICE) - 5


def test_two_bad_nights_and_a_step() -> None:
    for seed in DICE:
        values = stepped(seed)
        first, second = np.random.default_rng([9, seed]).choice(np.arange(1, LENGTH - 1), 2, replace=False)
        values[[first, second]] *= (1.4, 2)
        assert [abs(one.index - BEGINS) <= 2 for one in changes(values)] == [True]
        told = [at for one in look(values).outliers for at in range(one.index, one.index + one.length)]
        assert told == sorted([first, second])


@pytest.mark.parametrize("times", [1.4, 2, 10, 0.5])
def test_a_bad_last_night_is_no_step(times: float) -> None:
    """Nobody knows yet whether it goes away."""
    for seed in DICE:
        values = stepped(seed)
        values[-1] *= times
        (one,) = changes(values)
        assert one.index == BEGINS
        (night,) = look(values).outliers
        assert night.index == LENGTH - 1 and not night.alone


def test_what_stays_is_a_step_and_no_night() -> None:
    """As soon as it has stayed for five nights; and what is beside it is not lost."""
    for seed in DICE:
        values = stepped(seed, begins=LENGTH - 5)
        assert [one.index for one in changes(values)] == [LENGTH - 5]
        assert look(values).outliers == []
        values[-5] *= 1.4
        assert [LENGTH - 5 <= one.index <= LENGTH - 4 for one in changes(values)] == [True]


@pytest.mark.parametrize("length", [12, 16, 25])
def test_a_bad_night_in_a_short_series(length: int) -> None:
    for seed in DICE:
        values = stepped(seed, 0.0, length)
        values[length // 2] *= 2
        assert changes(values) == [] and [one.index for one in look(values).outliers] == [length // 2]


@pytest.mark.parametrize("times", [1.4, 2, 10, 0.5])
def test_quiet_series_with_bad_nights_are_quiet(times: float) -> None:
    """Of 60, at most 1% raise something: three or more would be a chance of 1 in 40."""
    raised = 0
    for seed in range(60):
        values = stepped(seed, 0.0, 120)
        values[np.random.default_rng([10, seed]).random(120) < 0.02] *= times
        raised += bool(changes(values))
    assert raised <= 2


@pytest.mark.parametrize("share", [0.12, 0.2, 0.5])
def test_a_second_mode_is_no_night(share: float) -> None:
    """And a step is found in noise that has one."""
    told = 0
    for seed in DICE:
        values = with_modes(seed, share)
        told += bool(look(values).outliers)
        values[50:] *= 1.2
        assert any(abs(one.index - 50) <= 2 for one in changes(values))
    assert told <= 1


def test_quiet_noise_has_no_nights() -> None:
    """Of 1,000 series of 15 to 200 points."""
    dice = np.random.default_rng(11)
    lengths = dice.choice([15, 30, 60, 100, 200], 1000)
    assert sum(bool(outliers(dice.normal(size=length))) for length in lengths) <= 10


def test_a_run_that_goes_away_is_told_as_one() -> None:
    values = stepped(1, 0.0)
    values[20:23] *= 1.5
    (night,) = look(values).outliers
    assert (night.index, night.length, night.alone) == (20, 3, True) and changes(values) == []


@pytest.mark.parametrize("length", [8, 30])
def test_one_odd_value_among_equal_ones(length: int) -> None:
    values = [7.0] * length
    values[4] = 9.0
    assert changes(values) == [] and suspects(values) == []
    assert [(one.index, one.level) for one in look(values).outliers] == [(4, 7.0)]


def test_one_odd_sample_of_an_exact_number() -> None:
    values = [100.0, 100, 100, 103, 100, 100, 105, 105]
    (one,) = exact_changes(values)
    assert (one.index, one.old_level, one.new_level) == (6, 100, 105)
    assert [one.index for one in exact_outliers(values)] == [3]
    twice = [1, 1, 1, 2, 1, 1, 1, 1]
    assert [one.index for one in exact_changes(values, twice)] == [3, 4, 6], "two samples of one version agree"
    assert exact_outliers(values, twice) == []
    assert [one.index for one in exact_changes([100.0, 100, 103])] == [2], "an exact number changes at once"


def test_findings_tell_the_night() -> None:
    values = stepped(2)
    values[37] *= 1.4
    told = judge(samples(values))
    (one,), (night,) = told.findings, told.nights
    assert one.after.commit == "c40" and one.worse
    assert night.version.commit == "c37" and night.words == "night of 2023-12-21: 1.4 times, alone"
    row = night.to_json()
    assert row["night"] == night.words and row["alone"] is True and row["times"] == pytest.approx(1.4, abs=0.05)
    assert not {"number", "change", "interval", "before", "after"} & set(row)


def confirmation(about: str, confirmed: bool) -> Document:
    body = {"confirmed": confirmed, "judgement": {"change": 0.41, "interval": [0.39, 0.43]}}
    return Document(KIND, "osv:a", about, body, Version("c", "d"), "run", 1.0)


def test_bad_nights_among_the_reruns_hide_no_change() -> None:
    """Of 60 changes of two sigmas at least 90% are confirmed though 2% of the reruns are bad; of none, none."""
    confirmed = {2.0: 0, 0.0: 0}
    for shift in confirmed:
        for seed in range(60):
            dice = np.random.default_rng([12, seed])
            times = (1.4, 2, 10, 0.5)[seed % 4]

            def rerun(
                order: tuple[str, str],
                dice: np.random.Generator = dice,
                times: float = times,
                levels: dict[str, float] = {"a": 100.0, "b": 100.0 + shift},  # noqa: B006 (read only)
            ) -> tuple[float, float]:
                taken = {
                    side: (levels[side] + dice.normal()) * (times if dice.random() < 0.02 else 1) for side in order
                }
                return taken["a"], taken["b"]

            confirmed[shift] += confirm(TIME, 0.02, rerun, Random(seed)).confirmed
    assert confirmed[2.0] >= 54 and confirmed[0.0] == 0


def test_a_night_is_rerun_once() -> None:
    values = stepped(3, 0.0)
    values[50] *= 1.4
    history = samples(values)
    (suspect,) = (one for one in unconfirmed(history, []) if one.after.commit == "c50")
    assert suspect.span is not None and [one.commit for one in suspect.span] == ["c49", "c50"]
    assert suspect.change == pytest.approx(0.4, abs=0.05)
    dropped = confirmation("boot.seconds  osv:a c49..c50", False)
    assert not [one for one in unconfirmed(history, [dropped]) if one.after.commit == "c50"]
    (night,) = judged(history, [dropped]).nights
    assert night.confirmed is False and "its rerun is not" in night.words


def test_the_last_night_is_a_finding_once_a_rerun_confirmed_it() -> None:
    values = stepped(4, 0.0)
    values[-1] *= 1.4
    history = samples(values)
    before = judged(history, [])
    assert before.findings == [] and "alone so far" in before.nights[0].words
    after = judged(history, [confirmation(f"boot.seconds  osv:a c{LENGTH - 2}..c{LENGTH - 1}", True)])
    (one,) = after.findings
    assert one.confirmed and one.interval == (0.39, 0.43) and after.nights == []


def test_a_finding_of_a_rerun_has_the_reruns_interval() -> None:
    """What made it suspect chose its place, and bends its size."""
    history = samples(stepped(5))
    (one,) = findings(history)
    said = confirmation(f"boot.seconds  osv:a {one.before.commit}..{one.after.commit}", True)
    (confirmed,) = judged(history, [said]).findings
    assert (confirmed.change, confirmed.interval) == (0.41, (0.39, 0.43))
    assert confirmed.new_level == pytest.approx(1.41 * one.old_level)


def test_nights_of_one_version_that_others_share_are_not_told() -> None:
    """A version measured three times, once badly, has the median of the three."""
    history = samples(stepped(6, 0.0))
    bad = [replace(history[30], value=history[30].value * times, id=f"x{times}") for times in (1.0, 1.4)]
    told = judge([*history, *bad])
    assert told.findings == [] and told.nights == []
