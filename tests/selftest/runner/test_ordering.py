"""The order in which tests begin: what tells most comes first, and the run does not take longer for it."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.runner.ordering import begins, end_of, longest_first, side_by_side, telling_first


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


@given(
    st.lists(st.tuples(st.floats(0, 1000), st.booleans()), max_size=40), st.integers(1, 4), st.integers(1, 8)
)
def test_every_item_is_given_out_once(items: list[tuple[float, bool]], cpus: int, workers: int) -> None:
    seconds, sleeps = [one for one, _ in items], [one for _, one in items]
    assert sorted(side_by_side(seconds, sleeps, cpus, workers)) == list(range(len(items)))


def test_each_worker_begins_with_one_of_the_first() -> None:
    """Pytest-xdist gives each two neighbours; here each is as long as its place from the end."""
    seconds = [float(10 - place) for place in range(10)]
    assert side_by_side(seconds, [False] * 10, 2, 2) == [0, 3, 1, 2, 4, 5, 6, 7, 8, 9]
    assert side_by_side(seconds, [place % 2 == 0 for place in range(10)], 2, 2) == [0, 3, 1, 2, 4, 5, 6, 7, 8, 9]


def test_what_sleeps_is_given_to_workers_that_no_cpu_is_for() -> None:
    """Two compute at all times, until nothing is left to compute; the others sleep meanwhile."""
    seconds, sleeps = [4.0] * 12 + [3.0] * 12, [False] * 12 + [True] * 12
    order = side_by_side(seconds, sleeps, 2, 4)
    assert [sleeps[place] for place in order[:8]] == [False] * 4 + [True] * 4
    given = {False: 4 * 4.0, True: 4 * 3.0}
    for place in order[8:-4]:
        given[sleeps[place]] += seconds[place]
        assert abs(given[False] - given[True]) <= 4.0 + 3.0, "neither kind is kept for the end"
