"""Every verdict of a history, small: a letter a night for the view of a test, a letter a test for each version."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from statistics import median
from typing import Any

from harness.metrics.history.records import Judged
from harness.report.model.figures import anchor
from harness.report.model.outcome_codes import NONE, codes_of
from harness.report.model.outcomes import Test
from harness.report.model.timeline import Timeline
from harness.report.morning.rates import tendency
from harness.report.morning.report import Morning
from harness.report.morning.tests import NO_WORD, failed
from harness.report.morning.text import rate_words

EXPECTED = frozenset("pfchtgbesx" + NONE)
"""Letters of what was expected, or was not run."""
IN_A_ROW = re.compile(r"(.)\1+")
MOST_REASONS = 30
"""Reasons of one test that its view lists, the latest first."""
MOST_NIGHTS = 800
"""Nights of a test that its view shows: the latest."""


def test_shards(
    tests: Sequence[Test], morning: Morning, cells: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:  # fmt: skip
    """For each test its nights on every cell, as the page's script wants them; by the shard's name. A cell is its
    place among `cells`."""
    by_name: dict[str, list[Test]] = defaultdict(list)
    for test in tests:
        by_name[test.name].append(test)
    rates = {
        group.test: rate_words(group) for group in (*morning.tests.new, *morning.tests.still, *morning.tests.flaky)
    }
    numbers = {cell: number for number, cell in enumerate(cells)}
    for name, alike in by_name.items():
        coded = [(test, codes_of(test.runs)) for test in alike]
        odd = [test for test, codes in coded if not EXPECTED.issuperset(codes)]
        yield anchor("test", name), {
            "name": name,
            "rate": rates.get(name, ""),
            "cells": [{"cell": numbers[test.cell], **_on_cell(test, codes, morning)} for test, codes in coded],
            "reasons": _reasons([one for test in odd for one in test.runs]),
        }


def _on_cell(test: Test, codes: Sequence[str], morning: Morning) -> dict[str, Any]:
    """The test's nights on its cell; `codes` are the letters of its runs."""
    nights, runs = morning.nights, test.runs
    first = max(0, nights.last + 1 - MOST_NIGHTS)
    signs = [NONE] * max(0, nights.last + 1 - first)
    numbers = nights.numbers(one.taken for one in runs)
    for night, sign in zip(numbers, codes, strict=True):
        if night >= first and signs[night - first] in EXPECTED:
            signs[night - first] = sign
    quiet = EXPECTED.issuperset(codes)
    bad = [] if quiet else [failed(one) for one in runs if one.outcome not in NO_WORD]
    said = tendency(bad) if any(bad) else None
    return {
        "suite": test.suite, "first": first, "nights": _short(signs), "runs": len(runs),
        "bad": sum(bad), "kind": str(said.kind) if said else "well",
        "seconds": round(median([one.seconds for one in runs]), 3),
        "last": round(test.latest.seconds, 3),
    }  # fmt: skip


def _short(signs: Iterable[str]) -> str:
    """Signs with what is the same in a row once, and how often: `p41Cp48`."""
    return IN_A_ROW.sub(lambda found: f"{found[1]}{len(found[0])}", "".join(signs))


def _reasons(runs: Iterable[Judged]) -> list[dict[str, Any]]:
    """The reasons of what was not as expected, how often, and when last."""
    odd = [one for one in runs if not one.expected and one.outcome != "skipped"]
    counted = Counter((one.outcome, one.reason) for one in odd)
    latest = {(one.outcome, one.reason): one for one in sorted(odd, key=lambda one: one.taken)}
    ordered = sorted(counted, key=lambda key: -latest[key].taken)[:MOST_REASONS]
    return [
        {
            "outcome": outcome.replace("_", " "), "reason": reason, "count": counted[outcome, reason],
            "cell": latest[outcome, reason].cell, "when": latest[outcome, reason].taken,
        }
        for outcome, reason in ordered
    ]  # fmt: skip


class AtVersions:
    """What became of every test at each version: its last verdict there, and whether others differ."""

    def __init__(self, tests: Sequence[Test], timeline: Timeline, cells: Sequence[str]) -> None:
        self.names = sorted({test.name for test in tests})
        self._places = {name: place for place, name in enumerate(self.names)}
        self._signs: dict[int, dict[int, str]] = defaultdict(dict)
        self._reasons: dict[int, dict[str, list[tuple[int, int]]]] = defaultdict(dict)
        self._mixed: dict[int, set[tuple[int, int]]] = defaultdict(set)
        numbers = {cell: number for number, cell in enumerate(cells)}
        for cell, alike in groupby(tests, attrgetter("cell")):
            self._add(numbers[cell], list(alike), timeline)

    def _add(self, cell: int, tests: Sequence[Test], timeline: Timeline) -> None:
        """The tests of a cell: of each the signs by version, and these turned."""
        versions: dict[int, int | None] = {}
        rows: dict[int, dict[int, str]] = defaultdict(dict)
        for test in tests:
            for one in test.runs:
                if id(one.version) not in versions:
                    versions[id(one.version)] = timeline.number(test.cell, one.version)
            self._add_test(cell, test, [versions[id(one.version)] for one in test.runs], rows)
        known = sorted({number for number in versions.values() if number is not None})
        blank = [NONE] * len(known)
        columns = [
            [rows[place].get(number, NONE) for number in known] if place in rows else blank
            for place in range(len(self.names))
        ]
        for number, signs in zip(known, zip(*columns, strict=True), strict=True):
            self._signs[number][cell] = "".join(signs)

    def _add_test(
        self, cell: int, test: Test, numbers: Sequence[int | None], rows: dict[int, dict[int, str]]
    ) -> None:
        place, signs = self._places[test.name], codes_of(test.runs)
        row = rows[place]
        again = bool(row) or len(set(numbers)) < len(numbers)
        for number, sign in zip(numbers, signs, strict=True) if again else ():
            if number is not None:
                if row.get(number, sign) != sign:
                    self._mixed[number].add((cell, place))
                row[number] = sign
        if not again:
            row |= {number: sign for number, sign in zip(numbers, signs, strict=True) if number is not None}
        if EXPECTED.issuperset(signs):
            return
        odd: dict[int, Judged] = {}
        for number, sign, one in zip(numbers, signs, test.runs, strict=True):
            if number is not None:
                odd.pop(number, None)
                if sign not in EXPECTED:
                    odd[number] = one
        for number, one in odd.items():
            self._reasons[number].setdefault(one.reason, []).append((cell, place))

    def at(self, number: int) -> dict[str, Any]:
        """Of one version: signs by cell, reasons with cells and tests, those that went both ways."""
        return {
            "tests": self._signs.get(number, {}),
            "reasons": [[reason, found] for reason, found in self._reasons.get(number, {}).items()],
            "mixed": sorted(self._mixed.get(number, ())),
        }
