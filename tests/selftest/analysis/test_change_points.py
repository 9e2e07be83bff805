"""Change points and findings: the steps that are there are found where they are, and no others."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from harness.analysis.regression.calibration import probability
from harness.analysis.regression.change_points import (
    LEVEL,
    Scan,
    changes,
    exact_changes,
    look,
    strongest,
    suspects,
)
from harness.analysis.regression.findings import findings, suspicions
from harness.analysis.regression.series import series_of
from harness.analysis.regression.step_search import Search, weigh
from harness.metrics.records import Environment, Metric, Sample, Version

HERE = Environment("here", "cpu", 2, "", "tcg", "qemu 7", "6.1")
TIME = Metric("boot.seconds", "s")
COUNT = Metric("boot.instructions", "", exact=True)


def noise(kind: str, seed: int, length: int = 200) -> np.ndarray:
    """Noise of standard deviation 1."""
    dice = np.random.default_rng(seed)
    if kind == "correlated":
        values = dice.normal(size=length + 50)
        for at in range(1, len(values)):
            values[at] = 0.5 * values[at - 1] + np.sqrt(0.75) * values[at]
        return values[50:]
    if kind == "modes":
        return (np.where(dice.random(length) < 0.2, 4.0, 0.0) + dice.normal(size=length)) / np.sqrt(3.56)
    if kind == "drifting":
        return dice.normal(size=length) + np.cumsum(dice.normal(size=length)) / np.sqrt(200)
    return dice.normal(size=length)


def samples(values: Sequence[float], metric: Metric = TIME, cell: str = "osv:a", start: int = 0) -> list[Sample]:
    """One sample a commit, in commit order."""
    return [
        Sample(metric, value, cell, "", Version(f"c{at}", f"d{at}", "", 1e9 + at), HERE, "run", 2e9 + at)
        for at, value in enumerate(values, start)
    ]


@pytest.mark.parametrize("kind", ["independent", "correlated", "modes", "drifting"])
def test_quiet_series_are_quiet(kind: str) -> None:
    """Of 100 quiet series about one raises something; six or more would be a chance of 1 in 1,000."""
    assert sum(bool(changes(100 + noise(kind, seed))) for seed in range(100)) <= 5


@pytest.mark.parametrize(("kind", "least"), [("independent", 24), ("modes", 22), ("correlated", 5)])
def test_a_step_of_two_sigmas_with_five_points_after_it(kind: str, least: int) -> None:
    """Of 40; up by 2 sigmas is nearly the second mode, the harder way."""
    found = 0
    for seed in range(40):
        values = 100 + noise(kind, 1000 + seed)
        values[195:] += 2
        found += any(abs(one.index - 195) <= 2 for one in changes(values))
    assert found >= least


def test_suspicion_finds_more_than_judgement_does() -> None:
    listed = 0
    for seed in range(40):
        values = 100 + noise("correlated", 2000 + seed)
        values[195:] -= 2
        listed += any(abs(one.index - 195) <= 5 and one.change < 0 for one in suspects(values))
    assert listed >= 32


def test_a_change_says_where_and_how_much() -> None:
    values = 50 + 0.5 * noise("independent", 3)
    values[120:] += 5
    (one,) = changes(values)
    assert one.index == 120
    assert one.earliest <= 120 <= one.latest
    assert one.old_level == pytest.approx(50, abs=0.3) and one.new_level == pytest.approx(55, abs=0.5)
    assert one.interval[0] < 0.1 < one.interval[1]
    assert one.change == pytest.approx(0.1, abs=0.02)
    assert one.probability < 1e-6


def test_a_change_that_went_away_again_is_two() -> None:
    values = 50 + noise("independent", 4)
    values[80:120] += 5
    first, second = changes(values)
    assert (first.index, second.index) == (80, 120)
    assert first.change > 0 > second.change


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e12])
def test_units_do_not_matter(unit: float) -> None:
    values = 50 + noise("independent", 5)
    values[100:] += 6
    (one,) = changes(values * unit)
    assert one.index == 100 and one.change == pytest.approx(0.12, abs=0.02)


def test_numbers_that_are_none_are_passed_over() -> None:
    values = 50 + noise("independent", 6)
    values[100:] += 8
    values[[3, 50, 99]] = np.nan
    (one,) = changes(values)
    assert one.index == 100


@given(arrays.arrays(float, st.integers(0, 12), elements=st.floats(allow_nan=True, allow_infinity=True, width=32)))
@settings(max_examples=60, deadline=None)
def test_few_points_of_any_kind_do_no_harm(values: np.ndarray) -> None:
    for one in [*changes(values), *suspects(values), *exact_changes(values)]:
        assert 0 < one.index < len(values)
        assert 0 <= one.probability <= 1


@pytest.mark.parametrize("length", [0, 1, 9, 10, 60, 200])
def test_equal_values_have_no_step(length: int) -> None:
    assert changes([7.0] * length) == [] and suspects([7.0] * length) == [] and exact_changes([7.0] * length) == []
    assert strongest([7.0] * length) is None


def test_a_step_without_noise_is_as_probable_as_shuffling() -> None:
    """Two of the 12,870 ways to shuffle eight equal points and eight others look so."""
    (one,) = changes([1.0] * 8 + [2.0] * 8)
    assert one.index == 8 and one.probability >= 2 / 12_870
    assert changes([1.0] * 6 + [2.0] * 3) == []


@pytest.mark.parametrize("size", [3e1, 1e3, 1e6])
@pytest.mark.parametrize(("length", "at"), [(16, 8), (100, 95), (200, 195)])
def test_a_great_step_is_never_taken_for_a_second_mode(size: float, length: int, at: int) -> None:
    values = 100 + noise("independent", 11, length)
    values[at:] += size
    assert [one.index for one in changes(values)] == [at]


def test_one_outlier_is_no_step() -> None:
    values = 50 + noise("independent", 7)
    values[197] += 12
    assert changes(values) == []


def test_exact_numbers_change_at_once() -> None:
    first, second = exact_changes([100, 100, 101, 101, 100])
    assert (first.index, second.index) == (2, 4)
    assert first.change == pytest.approx(0.01) and first.probability == 0


@given(st.floats(-20, 50), st.integers(10, 400))
def test_more_surprise_is_less_probable(surprise: float, length: int) -> None:
    assert 0 <= probability(surprise + 1, length) <= probability(surprise, length) <= 1
    assert probability(30, length) < LEVEL < probability(-3, length)


def stepped(seed: int, at: int = 100, size: float = 6.0) -> list[float]:
    values = 100 + noise("independent", seed)
    values[at:] += size
    return [float(one) for one in values]


def test_one_cause_across_metrics_and_cells() -> None:
    other = Metric("memory.used", "B")
    history = [
        *samples(stepped(1)),
        *samples(stepped(2), other),
        *samples(stepped(3), TIME, "osv:b"),
        *samples(stepped(4, at=150), TIME, "osv:c"),
        *samples(stepped(5), TIME, "linux:a"),
        *samples([7.0] * 100 + [8.0] * 100, COUNT),
    ]
    found = findings(history)
    causes: dict[int, set[str]] = {}
    for one in found:
        causes.setdefault(one.cause, set()).add(f"{one.metric.name} {one.cell} {one.after.commit}")
    assert sorted(map(len, causes.values())) == [1, 1, 4]
    assert {one.after.commit for one in found} == {"c100", "c150"}
    assert all(one.span and int(one.before.commit[1:]) < int(one.after.commit[1:]) for one in found)


def test_findings_of_many_quiet_series_are_held_to_a_rate() -> None:
    """60 quiet series have none here, and one that has changed is found among them."""
    history = [
        one for seed in range(60) for one in samples(list(100 + noise("independent", seed)), cell=f"osv:{seed}")
    ]
    assert findings(history) == []
    (one,) = findings([*history, *samples(stepped(99), cell="osv:new")])
    assert one.cell == "osv:new" and one.worse


def test_fingerprints_are_never_mixed() -> None:
    """A faster machine is no change of the kernel."""
    old = samples([float(one) for one in 100 + noise("independent", 1)])
    there = replace(HERE, host="there", cpu="faster")
    new = [replace(one, environment=there) for one in samples(list(50 + noise("independent", 2)), start=200)]
    assert len(series_of([*old, *new])) == 2
    assert findings([*old, *new]) == []


def test_replicates_are_one_point_and_order_is_of_commits() -> None:
    values = stepped(8)
    thrice = [
        one for sample in samples(values) for one in [sample, replace(sample, id="x"), replace(sample, value=1e9)]
    ]
    shuffled = [thrice[at] for at in np.random.default_rng(1).permutation(len(thrice))]
    (series,) = series_of(shuffled)
    assert list(series.values) == values and set(series.counts) == {3}
    (one,) = findings(shuffled)
    assert one.after.commit == "c100" and one.samples == (300, 300)


def test_a_search_says_the_same_whoever_asked_before() -> None:
    """Another level, and the suspects, of one search and of a new one each."""
    values = stepped(8)[:120] + [one + 3 for one in stepped(9)[120:]]
    scan = Scan(values)
    levels = (LEVEL, 1e-9, 0.2)
    asked = [scan.changes(level) for level in levels] + [scan.look().steps, scan.changes(LEVEL)]
    assert asked == [changes(values, level) for level in levels] + [look(values).steps, changes(values)]
    assert len({len(found) for found in asked}) > 1, "the levels must differ in what they find"


def test_suspicions_name_the_versions_to_rerun() -> None:
    (one,) = (one for one in suspicions(samples(stepped(10, at=195, size=4.0))) if one.after.commit == "c195")
    assert one.span is not None
    before, after = one.span
    assert int(before.commit[1:]) < 195 <= int(after.commit[1:])
    assert one.confirmed is None


def test_no_samples_have_no_findings() -> None:
    assert findings([]) == [] and suspicions([]) == []


@pytest.mark.parametrize("length", [12, 60, 200])
def test_many_series_weighed_together_are_as_alone(length: int) -> None:
    """To the last bit: findings are compared by their bytes."""
    kinds = ("independent", "correlated", "modes", "drifting")
    every = [100 + noise(kind, seed, length) for kind in kinds for seed in range(3)]
    for values in every[1::4]:
        values[length // 2 :] += 8
    every[0][length // 2] += 40
    every.append(np.full(length, 7.0))
    together = [Search(values) for values in every]
    weigh(together)
    weighed = [one for one in together if one._weighed]
    assert len(weighed) >= len(every) - 4 and (length == 12 or together[0] not in weighed)
    for one, values in zip(together, every, strict=True):
        alone = Search(values)
        assert one.best() == alone.best()
        if one.judgeable:
            assert np.array_equal(one._evidence, alone._evidence)
            assert one._beside_taken[1] == alone._beside_taken[1]
