"""What a bisection builds and boots next, and what it costs: rounds, builds at once, cached ones, the budget."""

from collections.abc import Sequence

import numpy as np
import pytest
from simulated_commits import EXACT, MOVED, NOISY, Commits, bisected, line, step

from harness.analysis.bisect.answer import BisectOutcome
from harness.analysis.bisect.forecast import forecast
from harness.analysis.bisect.journal import MemoryJournal
from harness.analysis.bisect.journal_records import Began, Booted, Finished, Opened
from harness.analysis.bisect.model import Build, Built, Effort, Measure, Plan
from harness.analysis.bisect.policy import decide
from harness.analysis.bisect.session import Bisection
from harness.analysis.bisect.state import State


def test_ends_are_checked_before_anything_else() -> None:
    journal = MemoryJournal()
    Bisection(line(50), EXACT, Commits(step(50, (7, 101.0))), journal).run()
    kinds = [(type(one), one.key.index) for one in journal.records if isinstance(one, Began | Booted)]
    assert kinds[:2] == [(Began, 0), (Began, 50)]
    assert {kind for kind, _ in kinds[2:6]} == {Booted}


@pytest.mark.parametrize(("taken", "said"), [((60, 90), 75.0), ((0, 1), 1.0)])
def test_what_a_boot_takes_is_what_boots_took_and_at_least_what_was_said(
    taken: Sequence[int], said: float
) -> None:
    state = State(Opened(line(3), NOISY, Effort(boot_seconds=1.0)))
    state.apply(Finished(Build(0), Built("a", 180.0)))
    for seconds in taken:
        state.apply(Booted(Build(0), 13.0, seconds))
    assert state.boot_seconds() == said


def test_boots_that_take_long_are_few() -> None:
    """Of the same ends, and the same noise."""
    asked = []
    for seconds in (0, 600):
        state = State(Opened(line(25), NOISY, Effort()))
        for at, level in ((0, 100.0), (25, 103.0)):
            state.apply(Finished(Build(at), Built(f"{at}", 180.0)))
            for value in (-1.0, 0.0, 1.0, -1.0, 0.0, 1.0, -1.0, 1.0):
                state.apply(Booted(Build(at), level + value, seconds))
        plan = decide(state, Commits(step(25, (9, 103.0))))
        assert isinstance(plan, Plan)
        asked.append(plan.boots[0][1])
    assert asked[0] > asked[1]


def test_the_outlook_narrows_to_the_culprit() -> None:
    journal = MemoryJournal()
    bisection = Bisection(line(200), EXACT, Commits(step(200, (77, 102.0))), journal)
    assert forecast(bisection.state) is None, "nothing is known before the ends are"
    widths = []
    while bisection.advance() is None:
        if ahead := forecast(bisection.state):
            widths.append(ahead.last - ahead.first + 1)
            assert ahead.first <= 77 <= ahead.last
            assert len(ahead.sparkline()) == 40
    assert widths == sorted(widths, reverse=True) and widths[0] == 200 and widths[-1] == 1
    assert ahead and ahead.builds == 0 and ahead.likeliest == 1.0


@pytest.mark.parametrize("jobs", [2, 3, 8])
@pytest.mark.parametrize(("measure", "noise"), [(EXACT, 0.0), (NOISY, 0.01), (MOVED, 0.01)])
def test_batches_find_it_in_fewer_rounds(jobs: int, measure: Measure, noise: float) -> None:
    """K builds cut a range into K + 1."""
    journal = MemoryJournal()
    commits = Commits(step(500, (123, 103.0)), noise)
    answer = Bisection(line(500), measure, commits, journal, Effort(jobs=jobs)).run()
    assert [one.points for one in answer.culprits] == [(123,)]
    state = Bisection(line(500), measure, commits, journal, Effort(jobs=jobs)).state
    rounds = sum(bool(plan.builds) for plan in state.plans)
    assert max(len(plan.builds) for plan in state.plans) == max(2, jobs)
    assert rounds <= np.ceil(np.log(500) / np.log(jobs + 1)) + 3


def test_cached_builds_are_taken_first() -> None:
    cached = [Build(at) for at in (100, 200, 300, 400)]
    commits = Commits(step(500, (230, 103.0)), 0.01, cached=cached)
    answer = bisected(commits, NOISY)
    assert [one.points for one in answer.culprits] == [(230,)]
    assert answer.cached >= 2
    assert commits.built[2] in cached


def test_the_budget_of_builds_ends_it_with_a_range() -> None:
    answer = bisected(Commits(step(1000, (230, 103.0)), 0.01), NOISY, Effort(most_builds=6))
    assert answer.outcome is BisectOutcome.NARROWED
    assert "6 builds" in answer.why
    assert 230 in answer.culprits[0].points
    assert answer.builds == 6
