"""A test that fails for more than one reason: the bad end's is followed, and no other is taken for it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from simulated_commits import EXACT, TEST, Commits, line, step

from harness.analysis.bisect.answer import Answer, BisectOutcome, Warn
from harness.analysis.bisect.journal import MemoryJournal
from harness.analysis.bisect.journal_records import Failed, from_json, to_json
from harness.analysis.bisect.model import REVERTED, Broken, Build, Built, Effort, Failure
from harness.analysis.bisect.replay import replay_journal
from harness.analysis.bisect.session import Bisection
from harness.analysis.bisect.verification import checks_of
from harness.core.errors import HarnessError

SOUGHT, OTHER = "crashed: Assertion failed: a in f (a.cc)", "hung: nothing ran any more"


@dataclass
class Failing:
    """Commits of which some fail: each of `faults` is a failure, its points, and how likely it is there; the first
    that strikes hides the rest. `innocent` is whether the bad end fails without its culprit too."""

    faults: tuple[tuple[str, range, float], ...]
    innocent: bool = False
    layouts = 1
    cached: tuple[Build, ...] = ()
    boots: int = 0
    built: list[Build] = field(default_factory=list)

    def build(self, key: Build) -> Built | Broken:
        self.built.append(key)
        return Built(f"{key.index}-{key.layout}", 180.0)

    def boot(self, key: Build) -> float | Failure | Broken:
        self.boots += 1
        dice = np.random.default_rng([7, self.boots])
        for cause, where, chance in self.faults:
            reverted = key.layout == REVERTED and cause == SOUGHT and not self.innocent
            at = 100 if key.layout == REVERTED else key.index
            if at in where and not reverted and dice.random() < chance:
                return Failure(cause)
        return 0.0


def bisected(world: Failing, checked: bool = False) -> Answer:
    journal = MemoryJournal()
    answer = Bisection(line(100), TEST, world, journal, Effort()).run(checks_of(TEST) if checked else ())
    again = [from_json(to_json(record)) for record in journal.records]
    assert again == journal.records and replay_journal(again) == answer
    return answer


def test_another_bug_in_the_middle_is_not_taken_for_the_one_that_is_looked_for() -> None:
    answer = bisected(Failing(((OTHER, range(30, 60), 1.0), (SOUGHT, range(80, 101), 1.0))), checked=True)
    assert (answer.outcome, [one.points for one in answer.culprits]) == (BisectOutcome.FOUND, [(80,)])
    assert answer.cause == SOUGHT and Warn.OTHER in answer.warned
    assert [check.passed for check in answer.checks] == [True, True]


def test_what_another_failure_hides_is_a_set_that_says_so() -> None:
    answer = bisected(Failing(((OTHER, range(30, 61), 1.0), (SOUGHT, range(40, 101), 1.0))))
    assert answer.culprits[0].points == tuple(range(30, 62))
    assert {Warn.HIDDEN, Warn.OTHER} <= answer.warned


@pytest.mark.parametrize(("culprit", "points"), [(297, [297]), (701, [701]), (500, range(300, 701))])
def test_a_long_stretch_that_another_failure_hides_is_not_built_commit_by_commit(
    culprit: int, points: Sequence[int]
) -> None:
    world = Failing(((OTHER, range(300, 700), 1.0), (SOUGHT, range(culprit, 1001), 1.0)))
    answer = Bisection(line(1000), TEST, world, MemoryJournal(), Effort()).run()
    assert answer.culprits[0].points == tuple(points)
    assert answer.builds < 60


@pytest.mark.parametrize("chance", [0.05, 0.3])
def test_failures_of_another_cause_everywhere_say_nothing(chance: float) -> None:
    answer = bisected(Failing(((OTHER, range(101), chance), (SOUGHT, range(57, 101), 0.8))))
    assert (answer.outcome, [one.points for one in answer.culprits]) == (BisectOutcome.FOUND, [(57,)])
    assert answer.good_level == 0 and answer.bad_level > 0.6


def test_a_test_that_fails_at_both_ends_is_told_in_a_few_boots() -> None:
    for faults in (((SOUGHT, range(101), 1.0),), ((OTHER, range(101), 0.1), (SOUGHT, range(101), 1.0))):
        world = Failing(faults)
        answer = bisected(world)
        assert answer.outcome is BisectOutcome.NO_DIFFERENCE and "good end too" in answer.why
        assert world.boots <= 40


def test_an_end_that_fails_by_another_cause_can_t_be_measured() -> None:
    world = Failing(((OTHER, range(50), 1.0), (SOUGHT, range(50, 101), 1.0)))
    with pytest.raises(HarnessError, match=r"good end.*another cause each of 8 times: hung"):
        bisected(world)
    assert world.boots < 20
    rare = Failing(((OTHER, range(50), 0.998), (SOUGHT, range(50, 101), 1.0)))
    with pytest.raises(HarnessError, match=r"can't be measured|fewer than 5 tell"):
        bisected(rare)


def test_a_culprit_whose_revert_changes_nothing_is_refuted() -> None:
    answer = bisected(Failing(((SOUGHT, range(70, 101), 1.0),), innocent=True), checked=True)
    assert answer.outcome is BisectOutcome.REFUTED and "0% of the change" in answer.why


def test_a_failure_that_comes_and_goes_at_the_bad_end_is_told_from_one_that_is_everywhere() -> None:
    answer = bisected(Failing(((OTHER, range(101), 0.4), (SOUGHT, range(33, 101), 0.4))))
    assert (answer.cause, [one.points for one in answer.culprits]) == (SOUGHT, [(33,)])


class Spoiled(Commits):
    """Numbers without noise, but for a boot now and then that its host spoiled."""

    def boot(self, key: Build) -> float | Broken:
        value = super().boot(key)
        assert not isinstance(value, Broken)
        spoiled = key.index in range(1, 100) and np.random.default_rng([5, self.boots]).random() < 0.3
        return value * 1.4 if spoiled else value


def test_a_spoiled_boot_of_an_exact_number_misleads_nobody() -> None:
    for culprit in (9, 34, 50, 77):
        answer = Bisection(line(100), EXACT, Spoiled(step(100, (culprit, 102.0))), MemoryJournal(), Effort()).run()
        assert [one.points for one in answer.culprits] == [(culprit,)]
        assert answer.boots > answer.builds + 4, "none was spoiled"


class Missing(Failing):
    """One whose boots give nothing now and then, and never at three commits."""

    def boot(self, key: Build) -> float | Failure | Broken:
        value = super().boot(key)
        lost = key.index in range(60, 63) or np.random.default_rng([3, self.boots]).random() < 0.05
        return Broken("the guest never got ready") if lost else value


def test_a_boot_that_gives_nothing_by_chance_makes_no_commit_broken() -> None:
    journal = MemoryJournal()
    world = Missing(((SOUGHT, range(33, 101), 0.5),))
    answer = Bisection(line(100), TEST, world, journal, Effort()).run()
    assert [one.points for one in answer.culprits] == [(33,)]
    assert world.boots > answer.boots, "none was lost"
    broken = [one.key.index for one in journal.records if isinstance(one, Failed)]
    assert set(broken) <= {60, 61, 62}
