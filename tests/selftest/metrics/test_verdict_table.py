"""A table of verdicts is the list of its records, and answers as the list would."""

import random
from dataclasses import replace

import pytest
from history_records import VERSION, WHERE, judged

from harness.metrics.history.records import VerdictRecord
from harness.metrics.history.verdict_table import VerdictTable


@pytest.fixture
def records() -> list[VerdictRecord]:
    """Verdicts in no order, some of one moment."""
    dice = random.Random(1)
    return [
        judged(
            test=dice.choice("abc"), cell=dice.choice("xy"), outcome=dice.choice(("passed", "failed")),
            expected=dice.random() < 0.7, seconds=dice.random(), taken=float(dice.randrange(50)), id=f"{number}",
            version=replace(VERSION, commit=dice.choice("pq")), environment=replace(WHERE, host=dice.choice("hk")),
        )
        for number in range(200)
    ]  # fmt: skip


def test_it_has_the_records_in_their_order(records: list[VerdictRecord]) -> None:
    table = VerdictTable.of(records)
    assert len(table) == 200 and [*table] == records and VerdictTable.of(table) is table
    assert (table[0], table[-1]) == (records[0], records[-1])
    assert [*table[-3:]] == records[-3:] and [*reversed(table)] == records[::-1]
    assert not VerdictTable.of([]) and [*VerdictTable.of([]).by_time()] == []
    with pytest.raises(IndexError):
        table[200]


def test_it_chooses_and_orders_as_a_list_does(records: list[VerdictRecord]) -> None:
    table = VerdictTable.of(records)
    ordered = sorted(records, key=lambda one: one.taken)
    assert [*table.by_time()] == ordered and [*table.by_time().by_time()] == ordered
    assert [*table.where(lambda kind: kind.test == "a" and not kind.expected)] == [
        one for one in records if one.test == "a" and not one.expected
    ]
    assert [*table.of_versions(lambda version: version.commit == "p")] == [
        one for one in records if one.version.commit == "p"
    ]
    assert [*table.between(10.0, 20.0)] == [one for one in records if 10.0 <= one.taken < 20.0]


def test_groups_come_by_key_and_none_is_empty(records: list[VerdictRecord]) -> None:
    some = VerdictTable.of(records).where(lambda kind: kind.test != "b")
    groups = some.grouped(lambda kind: (kind.test, kind.cell))
    assert [key for key, _ in groups] == [("a", "x"), ("a", "y"), ("c", "x"), ("c", "y")]
    for (test, cell), found in groups:
        assert [*found] == [one for one in records if (one.test, one.cell) == (test, cell)]
