"""The model of broken, flaky and well tests: how often it errs, on simulated runs."""

import numpy as np
import pytest

from harness.report.morning.rates import PatternKind, failure_pattern, rate_changed

LONG = 40
"""Runs of a test that is well before something happens."""


def dice() -> np.random.Generator:
    return np.random.default_rng(20261129)


def kinds(chance: np.random.Generator, rate: float, runs: int, times: int = 150) -> dict[PatternKind, float]:
    """The share of simulated tests of each kind: well for long, then failing at the rate."""
    found = [failure_pattern([*[False] * LONG, *(chance.random(runs) < rate)]).kind for _ in range(times)]
    return {kind: found.count(kind) / times for kind in PatternKind}


def test_a_test_that_is_well_is_hardly_ever_called_anything_else() -> None:
    """Accidents of one run in a thousand: fewer than 1 in 200 tests of 60 runs is called flaky, none broken."""
    chance = dice()
    found = [failure_pattern(chance.random(60) < 0.001).kind for _ in range(2000)]
    assert found.count(PatternKind.FLAKY) <= 10
    assert PatternKind.BROKEN not in found


@pytest.mark.parametrize(("rate", "least"), [(0.1, 0.6), (0.17, 0.85), (0.3, 0.9), (0.5, 0.9)])
def test_a_flaky_test_is_known_after_thirty_runs(rate: float, least: float) -> None:
    """And is not called broken, which would blame a commit, in more than 1 of 100."""
    found = kinds(dice(), rate, 30)
    assert found[PatternKind.FLAKY] >= least
    assert found[PatternKind.BROKEN] <= 0.01


def test_a_broken_test_is_undecided_at_first_and_sure_after_some_runs() -> None:
    """One failure alone never says which it is; five say it, and it began with the first of them."""
    said = {runs: failure_pattern([False] * LONG + [True] * runs) for runs in range(1, 11)}
    assert said[1].kind is PatternKind.UNDECIDED
    assert all(said[runs].kind is PatternKind.BROKEN for runs in range(5, 11))
    assert all(one.began == LONG and one.clean for one in said.values())


def test_an_interval_holds_the_rate() -> None:
    """In 93 of 100 flaky tests or more, though the first failure chose where to begin to count."""
    chance, held, all_ = dice(), 0, 0
    for rate in (0.1, 0.17, 0.3, 0.5):
        for _ in range(100):
            said = failure_pattern([*[False] * LONG, *(chance.random(40) < rate)])
            if said.kind is PatternKind.FLAKY:
                all_ += 1
                held += said.interval[0] <= rate <= said.interval[1]
    assert all_ > 300
    assert held / all_ >= 0.93


def test_what_was_fixed_is_well_and_what_was_flaky_takes_its_time() -> None:
    """A broken test passes once and is well; one that failed at 17% needs some forty passes in a row."""
    fixed = failure_pattern([False] * 20 + [True] * 20 + [False])
    assert (fixed.kind, fixed.before) == (PatternKind.WELL, PatternKind.BROKEN)
    chance = dice()
    flaky = [[*[False] * 20, *(chance.random(30) < 0.17)] for _ in range(50)]
    soon = [failure_pattern([*runs, *[False] * 5]).kind for runs in flaky]
    late = [failure_pattern([*runs, *[False] * 45]).kind for runs in flaky]
    assert soon.count(PatternKind.FLAKY) > 35
    assert late.count(PatternKind.WELL) > 40


def test_a_rate_has_moved_only_beyond_doubt() -> None:
    """At most 1 in 1,000 by chance; from a twentieth to a half within ten nights of five cells it has."""
    chance = dice()
    false = sum(
        rate_changed((int(chance.binomial(100, 0.17)), 100), (int(chance.binomial(50, 0.17)), 50))
        for _ in range(1000)
    )
    assert false <= 3
    assert rate_changed((5, 100), (25, 50))
    assert not rate_changed((0, 0), (1, 1))
