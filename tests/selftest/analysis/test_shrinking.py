"""A schedule that fails is made simpler, and never one that does not fail."""

from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.hunt.shrinking import LONGEST_TURN, shrink, simpler
from harness.core.schedule import CPUS, PADDING, SHIFTS, Schedule

turns = st.lists(st.integers(20, 5000), max_size=3, unique=True).map(lambda found: tuple(sorted(found)))
schedules = st.builds(
    Schedule, st.sampled_from(CPUS), st.sampled_from(SHIFTS), turns, st.sampled_from(PADDING)
)


@given(schedules)
def test_what_is_simpler_can_be_read_back_and_is_another(schedule: Schedule) -> None:
    found = list(simpler(schedule))
    assert schedule not in found
    assert all(Schedule.parse(str(one)) == one for one in found)
    assert all(one.cpus <= schedule.cpus and len(one.turns) <= len(schedule.turns) for one in found)


@given(schedules, st.integers(2, 4), st.integers(100, 4000))
def test_what_a_failure_needs_is_left_and_nothing_else(schedule: Schedule, cpus: int, shortest: int) -> None:
    """It wants so many vCPUs and one turn that is short enough, and nothing else."""
    asked: list[Schedule] = []

    def fails(one: Schedule) -> bool:
        asked.append(one)
        return one.cpus >= cpus and any(turn <= shortest for turn in one.turns)

    found = shrink(schedule, fails, 200)
    assert found.tried == len(asked) == len(set(asked))
    if not (schedule.cpus >= cpus and any(turn <= shortest for turn in schedule.turns)):
        return
    (turn,) = found.schedule.turns
    assert (found.schedule.cpus, found.schedule.padding) == (cpus, 0)
    assert shortest / 2 < turn <= shortest, "the fewest preemptions that do"


@given(schedules, st.integers(0, 5))
def test_no_more_runs_are_made_than_were_allowed(schedule: Schedule, tries: int) -> None:
    asked: list[Schedule] = []

    def fails(one: Schedule) -> bool:
        asked.append(one)
        return True

    found = shrink(schedule, fails, tries)
    assert found.tried == len(asked) <= tries
    assert found.schedule == (asked[-1] if asked else schedule)
    assert all(turn <= LONGEST_TURN for turn in found.schedule.turns)
