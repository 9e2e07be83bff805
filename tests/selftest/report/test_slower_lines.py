"""Tests that pass and take far longer since some version: told from durations, whatever the host's pace was."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from history_records import VERSION, WHERE, judged

from harness.metrics.history.records import VerdictRecord
from harness.report.markdown import markdown
from harness.report.report_data import make_report_data
from harness.report.slower_lines import slower_lines

TESTS = {f"tst-{name}.so": 0.5 + number for number, name in enumerate("abcdef")}
SLOW = "tst-f.so"  # 5.5 s
ROFS, RAMFS = "osv:x86_64-qemu-rofs-all", "osv:x86_64-qemu-ramfs-all"

Takes = Callable[[int, str, float], float]


def nights(takes: Takes, count: int = 8, cells: tuple[str, ...] = (ROFS,)) -> list[VerdictRecord]:
    """A night a version, in which a test takes what `takes` makes of its number, the test, and what is usual."""
    return [
        judged(
            cell=cell,
            test=test,
            seconds=takes(night, test, usual),
            taken=1000.0 * night + number,
            version=replace(VERSION, commit=f"{night:040}", digest=f"{cell}{night}", described=f"v{night}"),
        )
        for night in range(count)
        for cell in cells
        for number, (test, usual) in enumerate(TESTS.items())
    ]


def from_night(begin: int, times: float, end: int = 99) -> Takes:
    return lambda night, test, usual: usual * (times if test == SLOW and begin <= night < end else 1.0)


def test_a_test_that_takes_longer_is_told_with_its_cells_versions_and_seconds() -> None:
    rows = nights(from_night(5, 4.0), cells=(ROFS, RAMFS))
    told = make_report_data([], rows, [], {})
    line = (
        "tst-f.so takes 4 times as long on 2 cells (x86_64-qemu-ramfs, x86_64-qemu-rofs) since v5: 22.0 s, "
        "at most 5.5 s until v4"
    )
    assert told.asides == [line]
    assert line in markdown(told)


def test_a_hostile_name_is_no_escape_and_no_markup() -> None:
    rows = [replace(one, test="\x1b[31m<b>`x`") if one.test == SLOW else one for one in nights(from_night(5, 4.0))]
    told = make_report_data([], rows, [], {})
    assert len(told.asides) == 1 and "\x1b" in told.asides[0]
    text = markdown(told)
    assert "4 times as long" in text and "\x1b" not in text and "\n- `" in text and "`x`" not in text


@pytest.mark.parametrize(
    ("takes", "told"),
    [
        (from_night(7, 4.0), True),  # the newest night alone
        (from_night(3, 4.0), True),
        (from_night(2, 4.0), False),  # too few before it
        (from_night(5, 4.0, 7), False),  # it is over
        (from_night(5, 2.9), False),
        (lambda night, test, usual: usual * (4.0 if night == 7 else 1.0), False),  # a slow host
        (lambda night, test, usual: usual * (0.2 if night < 5 else 1.0), False),
        (lambda night, test, usual: usual * (4.0 if test == "tst-a.so" and night > 4 else 1.0), False),  # 1.5 s
        (lambda night, test, usual: usual * (4.0 if test == SLOW and night in (1, 6, 7) else 1.0), False),
    ],
)  # fmt: skip
def test_what_counts_as_longer(takes: Takes, told: bool) -> None:
    assert bool(slower_lines(nights(takes))) == told


def test_an_app_whose_load_is_to_last_longer_is_not_slower() -> None:
    rows = nights(from_night(5, 4.0))
    assert slower_lines(rows) and not slower_lines([replace(one, suite="apps") for one in rows])


def test_the_fastest_run_of_a_version_counts() -> None:
    rows = nights(from_night(7, 4.0))
    again = replace(rows[-1], seconds=5.0, taken=rows[-1].taken + 1)
    assert slower_lines(rows) and not slower_lines([*rows, again])


def test_another_kind_of_host_is_not_compared() -> None:
    rows = nights(from_night(5, 4.0))
    moved = [
        replace(one, environment=replace(WHERE, accelerator="tcg")) if one.version.described < "v5" else one
        for one in rows
    ]
    assert slower_lines(rows) and not slower_lines(moved)


def test_what_was_reused_stands_and_what_failed_or_is_gone_is_not_told() -> None:
    slow = nights(from_night(4, 4.0))

    def last_is(outcome: str) -> list[VerdictRecord]:
        *before, last = slow
        assert (last.test, last.version.described) == (SLOW, "v7")
        return [*before, replace(last, outcome=outcome, seconds=0.0)]

    assert slower_lines(last_is("reused")) == slower_lines(slow)
    assert not slower_lines(last_is("failed"))
    assert not slower_lines(slow[:-1])


def test_many_are_cut_and_counted() -> None:
    slow = [one for one in nights(from_night(5, 4.0)) if one.test == SLOW]
    quick = [replace(one, seconds=1.0) for one in slow]
    rows = [replace(one, test=f"tst-{number}.so") for number in range(7) for one in slow]
    rows += [replace(one, test=f"tst-{number}.so") for number in range(7, 20) for one in quick]
    lines = slower_lines(rows)
    assert len(lines) == 6 and lines[-1] == "2 more tests take longer."
    assert not slower_lines([])
