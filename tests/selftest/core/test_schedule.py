"""Schedules of vCPUs: drawn by number, written and read back."""

import pytest

from harness.core.errors import CellError
from harness.core.schedule import IN_ORDER, Schedule


def test_a_number_gives_the_same_schedule_for_ever() -> None:
    assert str(Schedule.drawn(1, 2)) == "2c3s33t41t339t63p"
    assert str(Schedule.drawn(2, 4)) == "4c3s193t572t57p"


def test_numbers_give_different_schedules() -> None:
    drawn = {Schedule.drawn(number, 2) for number in range(1000)}
    assert len(drawn) > 950
    assert {len(one.turns) for one in drawn} == {1, 2, 3}


@pytest.mark.parametrize("number", range(50))
def test_what_is_written_is_read_back(number: int) -> None:
    one = Schedule.drawn(number, 1 + number % 4)
    assert Schedule.parse(str(one)) == one


@pytest.mark.parametrize("text", ["", "2c", "2c3s", "0c3s0p", "9c3s0p", "2c3s17t", "2c3s17t31p ", "2c3s-1t0p"])
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(CellError, match="no schedule of vCPUs"):
        Schedule.parse(text)


def test_where_nothing_is_chosen_there_is_one_vcpu() -> None:
    assert str(IN_ORDER) == "1c0s0p"
