"""A against B: what changed is found, what did not is not, and the error is what it says."""

import json
from collections.abc import Iterator
from itertools import product
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis.ab import sign_flip_test
from harness.analysis.ab.sequential_test import Comparison, Decision, Judgement, planned_looks
from harness.analysis.regression.confirmation import confirm
from harness.metrics.records import Better, Metric

TIME = Metric("boot.seconds", "s")
COUNT = Metric("boot.instructions", "", exact=True)


def compared(pairs: Iterator[tuple[float, float]], **options: float) -> Judgement:
    """What a comparison of one metric says."""
    comparison = Comparison([TIME], **options)  # type: ignore[arg-type]
    while not comparison.done:
        comparison.add({TIME.name: next(pairs)})
    return comparison.judgements()[TIME.name]


def boots(seed: int, shift: float = 0.0, noise: float = 0.02) -> Iterator[tuple[float, float]]:
    """Pairs with normal noise; B is slower by `shift`."""
    dice = np.random.default_rng(seed)
    while True:
        a, b = 1 + noise * dice.normal(size=2)
        yield float(a), float(b * (1 + shift))


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=10))
def test_the_chance_is_that_of_all_signs(differences: list[int]) -> None:
    """Small integers lie on the grid: the probability is the share of all sign patterns that reach as far."""
    drawn = sign_flip_test.clipped(differences)
    sums = [abs(sum(sign * abs(one) for sign, one in zip(pattern, drawn, strict=True)))
            for pattern in product((-1, 1), repeat=len(drawn))]  # fmt: skip
    total = abs(sum(drawn))
    if total == 0 or np.any(drawn != np.asarray(differences)):
        return
    cells = int(np.abs(drawn).sum())
    assert sign_flip_test.probability(differences, cells) == pytest.approx(
        np.mean([one >= total - 1e-9 for one in sums])
    )


@pytest.mark.parametrize("noise", ["normal", "modes", "heavy", "walk"])
def test_equals_are_refused_no_more_often_than_the_level(noise: str) -> None:
    """Whatever the noise: in 400 comparisons at 10%, chance alone passes 60 false alarms once in 1,000 times."""
    dice = np.random.default_rng(5)
    alarms = 0
    for _ in range(400):
        values = {
            "normal": dice.normal(size=40),
            "modes": np.where(dice.random(40) < 0.2, 9.0, 0.0) + dice.normal(size=40),
            "heavy": dice.standard_cauchy(size=40),
            "walk": np.cumsum(dice.normal(size=40)),
        }[noise]
        pairs = [(a, b) if dice.random() < 0.5 else (b, a) for a, b in values.reshape(20, 2)]
        said = compared(iter(pairs), level=0.1, most=20, interesting=0.0)
        alarms += said.decision is Decision.CHANGED
    assert alarms <= 60


def test_a_shift_of_two_percent_is_found_in_a_hundred_pairs() -> None:
    found = [compared(boots(seed, 0.02)) for seed in range(40)]
    assert sum(one.decision is Decision.CHANGED and (one.change or 0) > 0 for one in found) >= 39
    assert sum(one.interval is not None and one.interval[0] <= 0.02 <= one.interval[1] for one in found) >= 36
    assert all(0.005 < (one.smallest or 0) < 0.05 for one in found)


def test_equals_are_said_to_be_unchanged_early_where_noise_is_small() -> None:
    said = compared(boots(1, noise=0.001))
    assert said.decision is Decision.UNCHANGED
    assert said.pairs < 40
    assert said.interval is not None and -0.01 < said.interval[0] <= said.interval[1] < 0.01


def test_too_much_noise_is_undecided_and_says_what_could_have_been_seen() -> None:
    said = compared(boots(1, noise=0.3))
    assert said.decision is Decision.UNDECIDED
    assert said.pairs == 100
    assert said.smallest is not None and said.smallest > 0.1


def test_numbers_without_noise() -> None:
    """All pairs equal: unchanged. All pairs different by the same: changed as soon as coins can't explain it."""
    assert compared(iter([(5.0, 5.0)] * 100)).decision is Decision.UNCHANGED
    said = compared(iter([(5.0, 5.1)] * 100))
    assert said.decision is Decision.CHANGED
    assert said.change == pytest.approx(0.02)
    assert said.pairs < 40


def test_zeros_and_negatives_are_compared_as_they_are() -> None:
    dice = np.random.default_rng(1)
    said = compared((float(a), float(a + 5 + b)) for a, b in dice.normal(size=(100, 2)))
    assert said.decision is Decision.CHANGED
    assert not said.relative
    assert said.change == pytest.approx(5, abs=1)
    assert compared(iter([(0.0, 0.0)] * 100)).decision is Decision.UNCHANGED


def test_an_exact_metric_needs_one_pair_and_takes_nothing_from_the_level() -> None:
    comparison = Comparison([COUNT])
    comparison.add({COUNT.name: (1000, 1001)})
    assert comparison.done
    said = comparison.judgements()[COUNT.name]
    assert (said.decision, said.pairs, said.change) == (Decision.CHANGED, 1, pytest.approx(0.001))
    comparison = Comparison([COUNT, TIME])
    comparison.add({COUNT.name: (7, 7), TIME.name: (1.0, 2.0)})
    assert comparison.judgements()[COUNT.name].decision is Decision.UNCHANGED
    assert not comparison.done


def test_a_missing_value_leaves_its_pair_out() -> None:
    comparison = Comparison([TIME, Metric("memory", "B")], most=40)
    pairs = boots(3, 0.5)
    for number in range(40):
        if comparison.done:
            break
        a, b = next(pairs)
        comparison.add({TIME.name: (a, None if number % 2 else b)})
    said = comparison.judgements()
    assert said["memory"].pairs == 0 and said["memory"].interval is None
    assert said[TIME.name].pairs <= 20


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_refused(value: float) -> None:
    comparison = Comparison([TIME])
    with pytest.raises(ValueError, match="finite"):
        comparison.add({TIME.name: (1.0, value)})
    assert comparison.pairs == 0


def test_what_is_not_compared_is_refused() -> None:
    with pytest.raises(ValueError, match="not compared"):
        Comparison([TIME]).add({"other": (1.0, 1.0)})


@given(st.integers(1, 300))
def test_the_looks_share_the_level(most: int) -> None:
    planned = planned_looks(most)
    assert sum(planned.values()) == pytest.approx(1)
    assert list(planned) == sorted(planned) and max(planned) == most
    assert all(share > 0 for share in planned.values())


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.floats(0.001, 0.5))
@settings(max_examples=50)
def test_the_interval_holds_the_centre(differences: list[float], level: float) -> None:
    low, high = sign_flip_test.interval(differences, level)
    assert low <= sign_flip_test.centre(differences) <= high


def test_a_judgement_survives_json() -> None:
    said = compared(boots(1, 0.02))
    again = Judgement.from_json(json.loads(json.dumps(said.to_json())))
    assert again == said
    assert again.metric.better is Better.LOWER


def test_both_orders_come_up() -> None:
    dice = Random(1)
    assert {Comparison.order(dice) for _ in range(20)} == {("a", "b"), ("b", "a")}


def test_a_suspicion_is_confirmed_in_its_direction_only() -> None:
    """A real shift is confirmed; none, or one the other way, is dropped, and soon."""
    slower, equal = boots(1, 0.05), boots(2)
    real = confirm(TIME, 0.05, lambda order: next(slower), Random(1))
    assert real.confirmed and real.pairs <= 30
    nothing = confirm(TIME, 0.05, lambda order: next(equal), Random(1))
    assert not nothing.confirmed and nothing.pairs <= 10
    faster = confirm(TIME, -0.05, lambda order: next(slower), Random(1))
    assert not faster.confirmed


def test_nothing_is_seldom_confirmed() -> None:
    """500 suspicions of nothing at a level of 5%: half of it in the suspected direction."""
    pairs = boots(9)
    confirmed = sum(
        confirm(TIME, 0.02, lambda order: next(pairs), Random(1), level=0.05).confirmed for _ in range(500)
    )
    assert confirmed <= 25
