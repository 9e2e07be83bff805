"""The order in which tests begin: what tells most comes first, and the run does not take longer for it."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.runner.ordering import begins, end_of, longest_first, telling_first


@given(
    st.lists(st.tuples(st.floats(0, 1000), st.floats(0, 1)), max_size=40),
    st.integers(1, 5),
)
def test_every_item_begins_once(items: list[tuple[float, float]], workers: int) -> None:
    seconds, chances = [one for one, _ in items], [one for _, one in items]
    order = telling_first(seconds, chances, workers)
    assert sorted(order) == list(range(len(items)))
    assert end_of(order, seconds, workers) >= sum(seconds) / workers - 1e-6


def test_on_one_worker_no_order_sees_a_change_sooner() -> None:
    """Smith's rule, against random orders."""
    rng = random.Random(7)
    seconds = [rng.expovariate(0.1) + 0.2 for _ in range(8)]
    chances = [rng.random() for _ in seconds]

    def mean(order: list[int]) -> float:
        began = begins(order, seconds, 1)
        return sum(chance * (at + took) for chance, at, took in zip(chances, began, seconds, strict=True))

    best = mean(telling_first(seconds, chances, 1))
    others = [mean(rng.sample(range(len(seconds)), len(seconds))) for _ in range(500)]
    assert best <= min(others) + 1e-9


@pytest.mark.parametrize("workers", [2, 3, 4, 8])
def test_a_long_item_does_not_make_the_run_longer(workers: int) -> None:
    """Among many short ones of equal chance, where shortest-first would begin it last."""
    seconds = [100.0, *[1.0] * 300]
    order = telling_first(seconds, [1.0] * len(seconds), workers)
    assert end_of(order, seconds, workers) <= end_of(longest_first(seconds), seconds, workers) + 1.0
    shortest_first = sorted(range(len(seconds)), key=lambda place: seconds[place])
    assert end_of(shortest_first, seconds, workers) > end_of(order, seconds, workers) + 50 / workers


def test_times_are_those_of_workers_that_take_the_next_item() -> None:
    assert begins([2, 0, 1], [1.0, 5.0, 3.0], 2) == [0.0, 1.0, 0.0]
    assert end_of([2, 0, 1], [1.0, 5.0, 3.0], 2) == 6.0
    assert end_of([], [], 2) == 0
