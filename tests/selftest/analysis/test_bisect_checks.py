"""An answer of a bisection is checked by fresh builds, other layouts and a revert; resumed, it is the same."""

from dataclasses import replace

import pytest
from simulated_commits import EXACT, MOVED, TEST, Commits, line, step

from harness.analysis.bisect.answer import BisectOutcome
from harness.analysis.bisect.journal import MemoryJournal
from harness.analysis.bisect.journal_records import Began, Booted, Checked, Concluded
from harness.analysis.bisect.model import FRESH, REVERTED, Build, Measure
from harness.analysis.bisect.replay import replay_journal
from harness.analysis.bisect.session import Bisection
from harness.analysis.bisect.verification import CHECKS, checks_of, rebuilt
from harness.core.errors import HarnessError


@pytest.mark.parametrize(
    ("measure", "old", "new", "noise"),
    [(EXACT, 100.0, 103.0, 0.0), (MOVED, 100.0, 103.0, 0.005), (TEST, 0.05, 0.9, 0.0)],
)
def test_an_answer_is_checked_by_fresh_builds_and_by_a_revert(
    measure: Measure, old: float, new: float, noise: float
) -> None:
    commits = Commits(step(60, (33, new), first=old), noise, layouts=8)
    answer = Bisection(line(60), measure, commits, MemoryJournal()).run(checks_of(measure))
    relaid_too = ["relaid"] if measure is MOVED else []
    assert {one.name: one.passed for one in answer.checks} == dict.fromkeys(
        ["rebuilt", *relaid_too, "reverted"], True
    )
    assert {key for key in commits.built if key.for_check} == {
        Build(32, FRESH),
        Build(33, FRESH),
        Build(33, REVERTED),
    }
    for_checks = 7 if measure is MOVED else 3
    assert answer.builds == len(commits.built) - for_checks, "checks are not counted"


def test_what_is_not_there_in_a_build_from_scratch_is_refuted() -> None:
    """As a build on top of others that make took for new enough."""
    commits = Commits(step(60), stale=dict.fromkeys(range(20, 61), 3.0))
    answer = Bisection(line(60), EXACT, commits, MemoryJournal()).run([("rebuilt", rebuilt)])
    assert answer.outcome is BisectOutcome.REFUTED
    assert "0% of the change" in answer.why


def test_a_session_killed_in_its_checks_keeps_its_answer() -> None:
    """Wherever it was killed: no build again, the same answer, the same checks."""
    whole, commits = MemoryJournal(), Commits(step(60, (33, 103.0)), 0.005, layouts=8)
    answer = Bisection(line(60), MOVED, commits, whole).run(CHECKS)
    first = next(at for at, one in enumerate(whole.records) if isinstance(one, Concluded))
    for killed in range(first, len(whole.records)):
        done = MemoryJournal(whole.records[: killed + 1])
        again = replace(commits, built=[], boots=sum(isinstance(one, Booted) for one in done.records))
        resumed = Bisection(line(60), MOVED, again, done).run(CHECKS)
        assert resumed == answer
        assert len({one.key for one in done.records if isinstance(one, Began)}) == len(
            [one for one in done.records if isinstance(one, Began)]
        )


def test_a_journal_is_replayed_to_its_answer() -> None:
    journal, commits = MemoryJournal(), Commits(step(200, (77, 102.0)), 0.02, layouts=16)
    answer = Bisection(line(200), MOVED, commits, journal).run(CHECKS)
    before = commits.boots
    assert replay_journal(journal.records) == answer
    assert commits.boots == before
    cut = next(at for at, one in enumerate(journal.records) if isinstance(one, Checked)) // 2
    with pytest.raises(HarnessError, match="can't be replayed"):
        replay_journal(journal.records[:cut])
