"""Lines about tests that pass, and take far longer since some version: a verdict does not tell of that."""

import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from harness.metrics.history.records import VerdictRecord
from harness.metrics.history.verdict_table import VerdictTable
from harness.metrics.records import Version
from harness.report.model.formatting import version_name
from harness.report.morning.text import cells_words, number

SUITE = "unit"
"""Whose durations are the tests' own: those of apps are chosen by who runs them."""
WINDOW = 12
"""The newest versions of a cell that are looked at."""
BEFORE = 3
"""The fewest versions with which the newer ones are compared."""
TIMES = 3.0
"""So many times the longest run before is what each run since took at least: a busy host doubles single ones."""
SECONDS = 2.0
"""And so much more. What takes less is of the boot and of the host."""
LEAST = 0.001
"""Seconds that no run is shorter than."""
ENOUGH = 5
"""Tests whose common pace tells how fast a version's host was."""
MOST = 5
"""The most lines."""


@dataclass(frozen=True, slots=True)
class SlowerTest:
    """A test on a cell that took `most` seconds at most until the version `good`, and `least` at least since
    `slow`: `times` as long, if the hosts had been equally fast."""

    test: str
    cell: str
    good: Version
    slow: Version
    most: float
    least: float
    times: float


def slower_lines(judged: Sequence[VerdictRecord]) -> list[str]:
    """A line for each test and version, the slowest first; a last one says how many more there are."""
    alike: dict[tuple[str, str, str], list[SlowerTest]] = defaultdict(list)
    for one in slower_tests(VerdictTable.of(judged)):
        alike[one.cell.partition(":")[0], one.test, one.slow.commit].append(one)
    rows = sorted(alike.values(), key=lambda row: -max(one.times for one in row))
    lines = [_line(row) for row in rows]
    return lines if len(lines) <= MOST else [*lines[:MOST], f"{len(lines) - MOST} more tests take longer."]


def slower_tests(judged: VerdictTable) -> list[SlowerTest]:
    """The tests that take `TIMES` as long since some version of a cell, and passed in its newest one, or were not
    run there because nothing had changed."""
    passed = judged.where(lambda kind: kind.suite == SUITE and kind.outcome in ("passed", "reused"))
    cells = passed.grouped(lambda kind: (kind.cell,))
    return [one for (cell,), table in cells for one in _of_cell(cell, _on_one_kind_of_host(table))]


def _line(row: Sequence[SlowerTest]) -> str:
    worst = max(row, key=lambda one: one.times)
    where = f"{number(len(row), 'cell')} ({cells_words(sorted(one.cell for one in row), 2)})"
    return (
        f"{worst.test} takes {worst.times:.0f} times as long on {where} since {version_name(worst.slow)}: "
        f"{worst.least:.1f} s, at most {worst.most:.1f} s until {version_name(worst.good)}"
    )


def _on_one_kind_of_host(table: VerdictTable) -> VerdictTable:
    """The verdicts that were reached by the same accelerator and cpu as the newest one."""
    newest = table.environments[table.rows["environment"][table.rows["taken"].argmax()]]
    alike = [(one.accelerator, one.cpu) == (newest.accelerator, newest.cpu) for one in table.environments]
    return table.take(np.array(alike)[table.rows["environment"]])


def _of_cell(cell: str, table: VerdictTable) -> Iterator[SlowerTest]:
    rows = table.by_time().rows
    found, firsts = np.unique(rows["version"], return_index=True)
    order = found[np.argsort(firsts)][-WINDOW:]
    if len(order) <= BEFORE:
        return
    rows = rows[np.isin(rows["version"], order)]
    kinds, kind = np.unique(rows["kind"], return_inverse=True)
    names, test_of = np.unique([table.kinds[one].test for one in kinds], return_inverse=True)
    reused = np.array([table.kinds[one].outcome == "reused" for one in kinds])[kind]
    test, version = test_of[kind], np.argsort(order)[np.searchsorted(np.sort(order), rows["version"])]
    seconds = np.full((len(names), len(order)), np.inf)
    took = np.maximum(rows["seconds"], LEAST)
    np.minimum.at(seconds, (test, version), np.where(reused, np.inf, took))
    seconds[np.isinf(seconds)] = np.nan
    even = seconds / _pace(seconds)
    for place in np.unique(test[version == len(order) - 1]):
        at = np.flatnonzero(~np.isnan(seconds[place]))
        if begins := _beginning(even[place][at]):
            before, since = at[:begins], at[begins:]
            yield SlowerTest(
                str(names[place]), cell, table.versions[order[before[-1]]], table.versions[order[since[0]]],
                float(seconds[place][before].max()), float(seconds[place][since].min()),
                float(even[place][since].min() / even[place][before].max()),
            )  # fmt: skip


def _pace(seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """How slow the host of each version was: the median over the tests of what they took, as a share of what they
    usually take."""
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # what was never run has no median
        shares = seconds / np.nanmedian(seconds, axis=1, keepdims=True)
        told = (~np.isnan(shares)).sum(axis=0) >= ENOUGH
        return np.where(told, np.nanmedian(shares, axis=0), 1.0)


def _beginning(row: NDArray[np.float64]) -> int:
    """The place from which on each run took far longer than all before; 0 if there is none."""
    for place in range(BEFORE, len(row)):
        most, least = row[:place].max(), row[place:].min()
        if least >= TIMES * most and least - most >= SECONDS:
            return place
    return 0
