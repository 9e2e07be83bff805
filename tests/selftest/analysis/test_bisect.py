"""The bisection, on simulated commits: it names the right one, or the set that it is in, or says that none is."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_commits import EXACT, MOVED, NOISY, TEST, Commits, bisected, line, step

from harness.analysis.bisect.answer import Answer, BisectOutcome, Check, Warn
from harness.analysis.bisect.journal import MemoryJournal
from harness.analysis.bisect.model import CommitRange, Measure
from harness.analysis.bisect.session import Bisection
from harness.core.errors import HarnessError
from harness.metrics.records import Better


@given(st.integers(1, 300), st.data())
@settings(max_examples=60, deadline=None)
def test_an_exact_number_needs_as_many_builds_as_halving(count: int, data: st.DataObject) -> None:
    """Whatever the culprit: the right one, with a build for each bit and the ends."""
    culprit = data.draw(st.integers(1, count))
    answer = bisected(Commits(step(count, (culprit, 101.0))), EXACT)
    assert answer.outcome is BisectOutcome.FOUND
    assert [one.points for one in answer.culprits] == [(culprit,)]
    assert answer.culprits[0].change == 1.0
    assert answer.builds <= int(np.ceil(np.log2(count))) + 2


@pytest.mark.parametrize(
    ("measure", "before", "after", "noise"),
    [(NOISY, 100.0, 102.0, 0.02), (MOVED, 100.0, 102.0, 0.02), (NOISY, 100.0, 102.0, 0.05), (TEST, 0.1, 0.9, 0.0),
     (TEST, 0.001, 0.2, 0.0), (TEST, 0.0001, 0.9999, 0.0)],
)  # fmt: skip
def test_the_culprit_of_a_noisy_measure_is_found(
    measure: Measure, before: float, after: float, noise: float
) -> None:
    """Ten culprits each; 99% is claimed of each, so that one wrong of ten is a thing of once in ten runs."""
    wrong = 0
    for culprit in range(3, 200, 20):
        answer = bisected(Commits(step(200, (culprit, after), first=before), noise), measure)
        assert answer.outcome is BisectOutcome.FOUND
        assert answer.culprits[0].probability >= 0.99
        wrong += [one.points for one in answer.culprits] != [(culprit,)]
    assert wrong <= 1


def test_a_test_that_always_fails_needs_few_boots() -> None:
    """Also at the last step, when two commits are left and the middle between them is one that is built."""
    for culprit in range(1, 26):
        commits = Commits(step(25, (culprit, 1.0), first=0.0))
        answer = bisected(commits, TEST)
        assert [one.points for one in answer.culprits] == [(culprit,)]
        assert answer.boots <= 80


def test_what_made_it_better_is_looked_for_too() -> None:
    levels = step(100, (40, 95.0))
    assert bisected(Commits(levels), EXACT).outcome is BisectOutcome.SWAPPED
    answer = bisected(Commits(levels), replace(EXACT, better=EXACT.better.opposite))
    assert [(one.points, one.change) for one in answer.culprits] == [((40,), -5.0)]


def test_the_size_lies_in_its_interval() -> None:
    answer = bisected(Commits(step(100, (40, 102.0)), 0.02), MOVED)
    low, high = answer.culprits[0].interval
    assert low <= 2.0 <= high
    assert high - low < 1.0


@pytest.mark.parametrize("measure", [EXACT, NOISY])
def test_one_candidate_is_the_culprit(measure: Measure) -> None:
    answer = bisected(Commits([100.0, 103.0], 0.0 if measure is EXACT else 0.01), measure)
    assert answer.outcome is BisectOutcome.FOUND
    assert answer.culprits[0].points == (1,)
    assert answer.builds == 2


@pytest.mark.parametrize(("measure", "level"), [(EXACT, 100.0), (NOISY, 100.0), (MOVED, 100.0), (TEST, 0.3)])
def test_ends_that_do_not_differ_are_said_to_be_equal(measure: Measure, level: float) -> None:
    answer = bisected(Commits(step(50, first=level), 0.0 if measure is EXACT else 0.02), measure)
    assert answer.outcome is BisectOutcome.NO_DIFFERENCE
    assert answer.builds == 2
    assert answer.culprits == ()
    assert (answer.smallest == 0) == (measure is EXACT)
    assert answer.smallest < 0.5


@pytest.mark.parametrize(
    ("measure", "levels"), [(EXACT, (100.0, 99.0)), (NOISY, (100.0, 97.0)), (TEST, (0.9, 0.1))]
)
def test_swapped_ends_are_said_to_be_swapped(measure: Measure, levels: tuple[float, float]) -> None:
    good, bad = levels
    answer = bisected(Commits(step(50, (20, bad), first=good), 0.0 if measure is EXACT else 0.02), measure)
    assert answer.outcome is BisectOutcome.SWAPPED
    assert answer.builds == 2


def test_what_is_better_when_higher_is_worse_when_lower() -> None:
    higher = replace(NOISY, better=Better.HIGHER)
    answer = bisected(Commits(step(50, (20, 95.0)), 0.02), higher)
    assert answer.outcome is BisectOutcome.FOUND
    assert answer.culprits[0].points == (20,)


@given(st.lists(st.booleans(), min_size=2, max_size=60), st.data())
@settings(max_examples=60, deadline=None)
def test_a_commit_with_its_parents_binary_is_never_blamed(fresh: list[bool], data: st.DataObject) -> None:
    """Whether that is known from digests after building, or from trees before."""
    fresh[data.draw(st.integers(0, len(fresh) - 1))] = True
    count = len(fresh)
    culprit = data.draw(st.sampled_from([at + 1 for at, one in enumerate(fresh) if one]))
    binaries = list(np.maximum.accumulate([0, *(at + 1 if one else 0 for at, one in enumerate(fresh))]))
    levels = step(count, (culprit, 104.0))
    for known in ((), [str(one) for one in binaries]):
        for measure, noise in ((EXACT, 0.0), (NOISY, 0.01)):
            commits = Commits(levels, noise, binaries=[int(one) for one in binaries])
            answer = Bisection(line(count, known), measure, commits, MemoryJournal()).run()
            blamed = {point for one in answer.culprits for point in one.points}
            assert all(fresh[point - 1] for point in blamed)
            if measure is EXACT:
                assert answer.outcome is BisectOutcome.FOUND and blamed == {culprit}
            if known:
                assert all(binaries[key.index] == key.index for key in commits.built)


def test_equal_ends_need_no_boot() -> None:
    answer = bisected(Commits(step(9, first=100.0), binaries=[0] * 10), EXACT)
    assert (answer.outcome, answer.boots) == (BisectOutcome.NO_DIFFERENCE, 0)


@pytest.mark.parametrize(("measure", "noise"), [(EXACT, 0.0), (NOISY, 0.01)])
def test_a_culprit_behind_broken_commits_is_a_set_that_names_them(measure: Measure, noise: float) -> None:
    answer = bisected(Commits(step(60, (33, 105.0)), noise, broken=(31, 32, 33)), measure)
    assert answer.outcome is BisectOutcome.FOUND
    (culprit,) = answer.culprits
    assert culprit.points == (31, 32, 33, 34)
    assert culprit.broken == tuple(line(60).commits[31:34])
    assert Warn.HIDDEN in answer.warned


@given(st.sets(st.integers(1, 39), max_size=25), st.integers(1, 40))
@settings(max_examples=60, deadline=None)
def test_the_culprit_is_in_the_answer_whatever_is_broken(broken: set[int], culprit: int) -> None:
    answer = bisected(Commits(step(40, (culprit, 105.0)), broken=broken), EXACT)
    (found,) = answer.culprits
    assert culprit in found.points
    assert set(found.points) - {culprit} <= {at + by for at in broken for by in (0, 1)}


@pytest.mark.parametrize("broken", [0, 20])
def test_an_end_that_does_not_build_ends_it(broken: int) -> None:
    with pytest.raises(HarnessError, match=r"end, .* can't be measured: does not compile"):
        bisected(Commits(step(20, (7, 105.0)), broken=(broken,)), EXACT)


def test_the_same_commit_twice_is_no_line() -> None:
    with pytest.raises(HarnessError, match="nothing between"):
        CommitRange(("a",))


def test_an_answer_goes_to_json_and_back() -> None:
    commits = Commits(step(120, (30, 104.0), (90, 110.0)), 0.01, broken=(31, 30))
    inside = bisected(Commits(step(5, (3, 101.0))), EXACT)
    answer = Bisection(line(120), NOISY, commits, MemoryJournal()).run(
        checks=[("parent", lambda bisection, answer: Check("parent", True, "measured again"))],
        follow=lambda answer: inside,
    )
    assert answer.inside == inside
    assert Answer.from_json(answer.to_json()) == answer
