"""What might mislead a bisection is told: layouts, several culprits, many small ones, slower hosts, two modes."""

import pytest
from simulated_commits import EXACT, MOVED, NOISY, Commits, bisected, line, step

from harness.analysis.bisect.answer import BisectOutcome, Warn
from harness.analysis.bisect.journal import MemoryJournal
from harness.analysis.bisect.model import Effort, Measure
from harness.analysis.bisect.session import Bisection
from harness.analysis.bisect.verification import relaid
from harness.core.errors import HarnessError
from harness.metrics.records import Metric


def test_layout_offsets_are_told_from_the_culprit_by_other_layouts() -> None:
    right = 0
    for culprit in range(5, 200, 20):
        commits = Commits(step(200, (culprit, 102.0)), 0.02, offset=0.005, layouts=16)
        answer = bisected(commits, MOVED)
        right += answer.outcome is BisectOutcome.FOUND and answer.culprits[0].points == (culprit,)
        assert len(set(commits.built)) == len(commits.built)
    assert right >= 9


def test_without_other_layouts_it_says_what_keeps_it_from_being_sure() -> None:
    """Offsets as great as half the change: one build of each commit can't do."""
    answer = bisected(Commits(step(30, (14, 102.0)), 0.002, offset=0.01), MOVED)
    assert answer.outcome in (BisectOutcome.NARROWED, BisectOutcome.LAYOUT)
    assert answer.why
    if answer.outcome is BisectOutcome.NARROWED:
        assert len(answer.culprits[0].points) > 1


def test_a_change_of_the_layout_alone_is_not_a_commits() -> None:
    """From 33 on, the commits' own layout is slower; other layouts of them are not."""
    laid = dict.fromkeys(range(33, 61), 0.04)
    commits = Commits(step(60), 0.005, layouts=8, only_laid_out=laid)
    answer = Bisection(line(60), MOVED, commits, MemoryJournal()).run(checks=[("relaid", relaid)])
    assert answer.outcome is BisectOutcome.LAYOUT
    commits = Commits(step(60, (33, 104.0)), 0.005, layouts=8)
    answer = Bisection(line(60), MOVED, commits, MemoryJournal()).run(checks=[("relaid", relaid)])
    assert answer.outcome is BisectOutcome.FOUND
    assert [one.passed for one in answer.checks] == [True]


def test_code_layout_moves_no_size() -> None:
    assert Measure.of(Metric("memory.minimum", "MiB")).layout == 0.0
    assert Measure.of(Metric("boot.wall", "s")).layout > 0.0


@pytest.mark.parametrize(("measure", "noise"), [(EXACT, 0.0), (NOISY, 0.01), (MOVED, 0.01)])
def test_two_culprits_are_two(measure: Measure, noise: float) -> None:
    answer = bisected(Commits(step(120, (30, 104.0), (90, 110.0)), noise), measure)
    assert answer.outcome is BisectOutcome.FOUND
    assert sorted(one.points for one in answer.culprits) == [(30,), (90,)]
    assert [one.points for one in answer.culprits] == [(90,), (30,)]
    assert [one.change for one in answer.culprits] == pytest.approx([6, 4], abs=1)
    assert Warn.SEVERAL in answer.warned


@pytest.mark.parametrize(("measure", "noise"), [(EXACT, 0.0), (NOISY, 0.01)])
def test_a_change_that_went_away_again_is_said_to_have(measure: Measure, noise: float) -> None:
    """Worse at 20, well again at 50, worse at 90; four builds at once see all of it."""
    levels = step(120, (20, 110.0), (50, 100.0), (90, 110.0))
    answer = bisected(Commits(levels, noise), measure, Effort(jobs=4))
    assert sorted(one.points for one in answer.culprits) == [(20,), (50,), (90,)]
    assert Warn.WENT_AWAY in answer.warned


def test_many_small_changes_are_not_one_commits() -> None:
    answer = bisected(Commits([100.0 + at for at in range(101)]), EXACT)
    assert (answer.outcome, answer.culprits) == (BisectOutcome.SPREAD, ())


def test_the_rest_of_an_exact_change_is_said() -> None:
    answer = bisected(Commits(step(64, (9, 100.5), (40, 110.0))), EXACT)
    assert [one.points for one in answer.culprits] == [(40,)]
    assert Warn.REST in answer.warned


def test_a_number_that_is_not_exact_is_not_taken_for_one() -> None:
    with pytest.raises(HarnessError, match="is called exact, but"):
        bisected(Commits(step(20, (7, 105.0)), 0.01), EXACT)


@pytest.mark.parametrize("since", [20, 40, 60])
def test_a_host_that_becomes_slower_half_way_is_noticed_and_misleads_nobody(since: int) -> None:
    commits = Commits(step(300, (170, 102.0)), 0.005, slower={since: 1.05})
    answer = bisected(commits, NOISY)
    assert Warn.DRIFT in answer.warned
    assert [one.points for one in answer.culprits] == [(170,)]
    assert len(set(commits.built)) == len(commits.built)


def test_two_modes_are_said() -> None:
    answer = bisected(Commits(step(60, (33, 104.0)), 0.005, modes=0.06), NOISY)
    assert [one.points for one in answer.culprits] == [(33,)]
    assert Warn.BIMODAL in answer.warned
    assert Warn.BIMODAL not in bisected(Commits(step(60, (33, 104.0)), 0.02), NOISY).warned
