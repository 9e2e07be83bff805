"""The bisection, on simulated commits: it names the right one, or says why it can't."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.bisect import FRESH, REVERTED, Broken, Built, Effort, Key, Kind, Line, Measure, Plan
from harness.bisect.answer import Answer, Check, Outcome, Warn
from harness.bisect.decide import decide
from harness.bisect.journal import Memory
from harness.bisect.outlook import outlook
from harness.bisect.records import Began, Booted, Checked, Concluded, Finished, Opened
from harness.bisect.replay import replayed
from harness.bisect.session import Session
from harness.bisect.state import State
from harness.bisect.verification import CHECKS, checks_of, rebuilt, relaid
from harness.errors import HarnessError
from harness.measure import Better, Metric

EXACT = Measure("boot.instructions", "", Kind.EXACT, layout=0.0)
NOISY = Measure("boot.wall", "s", layout=0.0)
MOVED = Measure("boot.wall", "s")
TEST = Measure.test("tst-mmap.so")


@dataclass
class Commits:
    """A simulated builder: the level at each point, noise and layout offsets relative to it; what is broken; which
    commits share a binary; how often the host has become slower, by boots."""

    levels: Sequence[float]
    noise: float = 0.0
    offset: float = 0.0
    layouts: int = 1
    broken: Collection[int] = ()
    binaries: Sequence[int] = ()
    slower: Mapping[int, float] = field(default_factory=dict)
    only_laid_out: Mapping[int, float] = field(default_factory=dict)
    stale: Mapping[int, float] = field(default_factory=dict)
    modes: float = 0.0
    cached: Collection[Key] = ()
    built: list[Key] = field(default_factory=list)
    boots: int = 0

    def build(self, key: Key) -> Built | Broken:
        self.built.append(key)
        if key.index in self.broken:
            return Broken("does not compile")
        binary = self.binaries[key.index] if self.binaries else key.index
        return Built(f"{binary}-{key.layout}", 180.0, key in self.cached)

    def boot(self, key: Key) -> float | Broken:
        self.boots += 1
        level = self.levels[key.index] + (self.stale.get(key.index, 0.0) if key.layout == 0 else 0.0)
        if key.layout == REVERTED:
            level = self.levels[-1] - (self.levels[key.index] - self.levels[key.index - 1])
        if 0 < level < 1:
            return float(np.random.default_rng([9, key.index, self.boots]).random() < level)
        binary = self.binaries[key.index] if self.binaries else key.index
        layout = np.random.default_rng([7, binary, key.layout % 97])
        dice = np.random.default_rng([8, key.index, key.layout % 97, self.boots])
        offset = self.offset * layout.normal() + (
            self.only_laid_out.get(key.index, 0.0) if key.layout in (0, FRESH) else 0.0
        )
        mode = self.modes * (dice.random() < 0.3)
        speed = float(np.prod([by for since, by in self.slower.items() if self.boots > since]))
        return float(level * (1 + offset) * (1 + self.noise * dice.normal() + mode) * speed)


def line(count: int, binaries: Sequence[str] = ()) -> Line:
    """So many commits from good to bad, with the good end."""
    return Line(tuple(f"{at:040x}" for at in range(count + 1)), tuple(binaries))


def step(count: int, *changes: tuple[int, float], first: float = 100.0) -> list[float]:
    """Levels that change at points to new levels."""
    levels = [first] * (count + 1)
    for at, level in changes:
        levels[at:] = [level] * (count + 1 - at)
    return levels


def bisected(commits: Commits, measure: Measure, effort: Effort | None = None) -> Answer:
    """The answer."""
    return Session(line(len(commits.levels) - 1), measure, commits, Memory(), effort or Effort()).run()


@given(st.integers(1, 300), st.data())
@settings(max_examples=60, deadline=None)
def test_an_exact_number_needs_as_many_builds_as_halving(count: int, data: st.DataObject) -> None:
    """Whatever the culprit: the right one, with a build for each bit and the ends."""
    culprit = data.draw(st.integers(1, count))
    answer = bisected(Commits(step(count, (culprit, 101.0))), EXACT)
    assert answer.outcome is Outcome.FOUND
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
        assert answer.outcome is Outcome.FOUND
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
    assert bisected(Commits(levels), EXACT).outcome is Outcome.SWAPPED
    answer = bisected(Commits(levels), replace(EXACT, better=EXACT.better.opposite))
    assert [(one.points, one.change) for one in answer.culprits] == [((40,), -5.0)]


def test_the_size_lies_in_its_interval() -> None:
    answer = bisected(Commits(step(100, (40, 102.0)), 0.02), MOVED)
    low, high = answer.culprits[0].interval
    assert low <= 2.0 <= high
    assert high - low < 1.0


def test_layout_offsets_are_told_from_the_culprit_by_other_layouts() -> None:
    right = 0
    for culprit in range(5, 200, 20):
        commits = Commits(step(200, (culprit, 102.0)), 0.02, offset=0.005, layouts=16)
        answer = bisected(commits, MOVED)
        right += answer.outcome is Outcome.FOUND and answer.culprits[0].points == (culprit,)
        assert len(set(commits.built)) == len(commits.built)
    assert right >= 9


def test_without_other_layouts_it_says_what_keeps_it_from_being_sure() -> None:
    """Offsets as great as half the change: one build of each commit can't do."""
    answer = bisected(Commits(step(30, (14, 102.0)), 0.002, offset=0.01), MOVED)
    assert answer.outcome in (Outcome.NARROWED, Outcome.LAYOUT)
    assert answer.why
    if answer.outcome is Outcome.NARROWED:
        assert len(answer.culprits[0].points) > 1


@pytest.mark.parametrize("measure", [EXACT, NOISY])
def test_one_candidate_is_the_culprit(measure: Measure) -> None:
    answer = bisected(Commits([100.0, 103.0], 0.0 if measure is EXACT else 0.01), measure)
    assert answer.outcome is Outcome.FOUND
    assert answer.culprits[0].points == (1,)
    assert answer.builds == 2


@pytest.mark.parametrize(("measure", "level"), [(EXACT, 100.0), (NOISY, 100.0), (MOVED, 100.0), (TEST, 0.3)])
def test_ends_that_do_not_differ_are_said_to_be_equal(measure: Measure, level: float) -> None:
    answer = bisected(Commits(step(50, first=level), 0.0 if measure is EXACT else 0.02), measure)
    assert answer.outcome is Outcome.NO_DIFFERENCE
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
    assert answer.outcome is Outcome.SWAPPED
    assert answer.builds == 2


def test_what_is_better_when_higher_is_worse_when_lower() -> None:
    higher = replace(NOISY, better=Better.HIGHER)
    answer = bisected(Commits(step(50, (20, 95.0)), 0.02), higher)
    assert answer.outcome is Outcome.FOUND
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
            answer = Session(line(count, known), measure, commits, Memory()).run()
            blamed = {point for one in answer.culprits for point in one.points}
            assert all(fresh[point - 1] for point in blamed)
            if measure is EXACT:
                assert answer.outcome is Outcome.FOUND and blamed == {culprit}
            if known:
                assert all(binaries[key.index] == key.index for key in commits.built)


def test_equal_ends_need_no_boot() -> None:
    answer = bisected(Commits(step(9, first=100.0), binaries=[0] * 10), EXACT)
    assert (answer.outcome, answer.boots) == (Outcome.NO_DIFFERENCE, 0)


@pytest.mark.parametrize(("measure", "noise"), [(EXACT, 0.0), (NOISY, 0.01)])
def test_a_culprit_behind_broken_commits_is_a_set_that_names_them(measure: Measure, noise: float) -> None:
    answer = bisected(Commits(step(60, (33, 105.0)), noise, broken=(31, 32, 33)), measure)
    assert answer.outcome is Outcome.FOUND
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


@pytest.mark.parametrize(("measure", "noise"), [(EXACT, 0.0), (NOISY, 0.01), (MOVED, 0.01)])
def test_two_culprits_are_two(measure: Measure, noise: float) -> None:
    answer = bisected(Commits(step(120, (30, 104.0), (90, 110.0)), noise), measure)
    assert answer.outcome is Outcome.FOUND
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
    assert (answer.outcome, answer.culprits) == (Outcome.SPREAD, ())


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


def test_a_change_of_the_layout_alone_is_not_a_commits() -> None:
    """From 33 on, the commits' own layout is slower; other layouts of them are not."""
    laid = dict.fromkeys(range(33, 61), 0.04)
    commits = Commits(step(60), 0.005, layouts=8, only_laid_out=laid)
    answer = Session(line(60), MOVED, commits, Memory()).run(checks=[("relaid", relaid)])
    assert answer.outcome is Outcome.LAYOUT
    commits = Commits(step(60, (33, 104.0)), 0.005, layouts=8)
    answer = Session(line(60), MOVED, commits, Memory()).run(checks=[("relaid", relaid)])
    assert answer.outcome is Outcome.FOUND
    assert [one.passed for one in answer.checks] == [True]


@pytest.mark.parametrize(
    ("measure", "old", "new", "noise"),
    [(EXACT, 100.0, 103.0, 0.0), (MOVED, 100.0, 103.0, 0.005), (TEST, 0.05, 0.9, 0.0)],
)
def test_an_answer_is_checked_by_fresh_builds_and_by_a_revert(
    measure: Measure, old: float, new: float, noise: float
) -> None:
    commits = Commits(step(60, (33, new), first=old), noise, layouts=8)
    answer = Session(line(60), measure, commits, Memory()).run(checks_of(measure))
    relaid_too = ["relaid"] if measure is MOVED else []
    assert {one.name: one.passed for one in answer.checks} == dict.fromkeys(
        ["rebuilt", *relaid_too, "reverted"], True
    )
    assert {key for key in commits.built if key.for_check} == {Key(32, FRESH), Key(33, FRESH), Key(33, REVERTED)}
    for_checks = 7 if measure is MOVED else 3
    assert answer.builds == len(commits.built) - for_checks, "checks are not counted"


def test_what_is_not_there_in_a_build_from_scratch_is_refuted() -> None:
    """As a build on top of others that make took for new enough."""
    commits = Commits(step(60), stale=dict.fromkeys(range(20, 61), 3.0))
    answer = Session(line(60), EXACT, commits, Memory()).run([("rebuilt", rebuilt)])
    assert answer.outcome is Outcome.REFUTED
    assert "0% of the change" in answer.why


def test_a_session_killed_in_its_checks_keeps_its_answer() -> None:
    """Wherever it was killed: no build again, the same answer, the same checks."""
    whole, commits = Memory(), Commits(step(60, (33, 103.0)), 0.005, layouts=8)
    answer = Session(line(60), MOVED, commits, whole).run(CHECKS)
    first = next(at for at, one in enumerate(whole.records) if isinstance(one, Concluded))
    for killed in range(first, len(whole.records)):
        done = Memory(whole.records[: killed + 1])
        again = replace(commits, built=[], boots=sum(isinstance(one, Booted) for one in done.records))
        resumed = Session(line(60), MOVED, again, done).run(CHECKS)
        assert resumed == answer
        assert len({one.key for one in done.records if isinstance(one, Began)}) == len(
            [one for one in done.records if isinstance(one, Began)]
        )


def test_a_journal_is_replayed_to_its_answer() -> None:
    journal, commits = Memory(), Commits(step(200, (77, 102.0)), 0.02, layouts=16)
    answer = Session(line(200), MOVED, commits, journal).run(CHECKS)
    before = commits.boots
    assert replayed(journal.records) == answer
    assert commits.boots == before
    cut = next(at for at, one in enumerate(journal.records) if isinstance(one, Checked)) // 2
    with pytest.raises(HarnessError, match="can't be replayed"):
        replayed(journal.records[:cut])


@pytest.mark.parametrize(("taken", "said"), [((60, 90), 75.0), ((0, 1), 1.0)])
def test_what_a_boot_takes_is_what_boots_took_and_at_least_what_was_said(
    taken: Sequence[int], said: float
) -> None:
    state = State(Opened(line(3), NOISY, Effort(boot_seconds=1.0)))
    state.apply(Finished(Key(0), Built("a", 180.0)))
    for seconds in taken:
        state.apply(Booted(Key(0), 13.0, seconds))
    assert state.boot_seconds() == said


def test_boots_that_take_long_are_few() -> None:
    """Of the same ends, and the same noise."""
    asked = []
    for seconds in (0, 600):
        state = State(Opened(line(25), NOISY, Effort()))
        for at, level in ((0, 100.0), (25, 103.0)):
            state.apply(Finished(Key(at), Built(f"{at}", 180.0)))
            for value in (-1.0, 0.0, 1.0, -1.0, 0.0, 1.0, -1.0, 1.0):
                state.apply(Booted(Key(at), level + value, seconds))
        plan = decide(state, Commits(step(25, (9, 103.0))))
        assert isinstance(plan, Plan)
        asked.append(plan.boots[0][1])
    assert asked[0] > asked[1]


def test_code_layout_moves_no_size() -> None:
    assert Measure.of(Metric("memory.minimum", "MiB")).layout == 0.0
    assert Measure.of(Metric("boot.wall", "s")).layout > 0.0


def test_the_outlook_narrows_to_the_culprit() -> None:
    journal = Memory()
    session = Session(line(200), EXACT, Commits(step(200, (77, 102.0))), journal)
    assert outlook(session.state) is None, "nothing is known before the ends are"
    widths = []
    while session.advance() is None:
        if ahead := outlook(session.state):
            widths.append(ahead.last - ahead.first + 1)
            assert ahead.first <= 77 <= ahead.last
            assert len(ahead.sparkline()) == 40
    assert widths == sorted(widths, reverse=True) and widths[0] == 200 and widths[-1] == 1
    assert ahead and ahead.builds == 0 and ahead.likeliest == 1.0


@pytest.mark.parametrize("jobs", [2, 3, 8])
@pytest.mark.parametrize(("measure", "noise"), [(EXACT, 0.0), (NOISY, 0.01), (MOVED, 0.01)])
def test_batches_find_it_in_fewer_rounds(jobs: int, measure: Measure, noise: float) -> None:
    """K builds cut a range into K + 1."""
    journal = Memory()
    commits = Commits(step(500, (123, 103.0)), noise)
    answer = Session(line(500), measure, commits, journal, Effort(jobs=jobs)).run()
    assert [one.points for one in answer.culprits] == [(123,)]
    state = Session(line(500), measure, commits, journal, Effort(jobs=jobs)).state
    rounds = sum(bool(plan.builds) for plan in state.plans)
    assert max(len(plan.builds) for plan in state.plans) == max(2, jobs)
    assert rounds <= np.ceil(np.log(500) / np.log(jobs + 1)) + 3


def test_cached_builds_are_taken_first() -> None:
    cached = [Key(at) for at in (100, 200, 300, 400)]
    commits = Commits(step(500, (230, 103.0)), 0.01, cached=cached)
    answer = bisected(commits, NOISY)
    assert [one.points for one in answer.culprits] == [(230,)]
    assert answer.cached >= 2
    assert commits.built[2] in cached


def test_the_budget_of_builds_ends_it_with_a_range() -> None:
    answer = bisected(Commits(step(1000, (230, 103.0)), 0.01), NOISY, Effort(most_builds=6))
    assert answer.outcome is Outcome.NARROWED
    assert "6 builds" in answer.why
    assert 230 in answer.culprits[0].points
    assert answer.builds == 6


def test_an_answer_goes_to_json_and_back() -> None:
    commits = Commits(step(120, (30, 104.0), (90, 110.0)), 0.01, broken=(31, 30))
    inside = bisected(Commits(step(5, (3, 101.0))), EXACT)
    answer = Session(line(120), NOISY, commits, Memory()).run(
        checks=[("parent", lambda session, answer: Check("parent", True, "measured again"))],
        follow=lambda answer: inside,
    )
    assert answer.inside == inside
    assert Answer.from_json(answer.to_json()) == answer


def test_ends_are_checked_before_anything_else() -> None:
    journal = Memory()
    Session(line(50), EXACT, Commits(step(50, (7, 101.0))), journal).run()
    kinds = [(type(one), one.key.index) for one in journal.records if isinstance(one, Began | Booted)]
    assert kinds[:2] == [(Began, 0), (Began, 50)]
    assert {kind for kind, _ in kinds[2:6]} == {Booted}


def test_the_same_commit_twice_is_no_line() -> None:
    with pytest.raises(HarnessError, match="nothing between"):
        Line(("a",))
