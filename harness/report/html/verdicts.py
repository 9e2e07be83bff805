"""Encodes every verdict of a history in one letter: by night for the view of a test, by test for each version."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter
from statistics import median
from typing import Any

from harness.metrics.history.records import VerdictRecord
from harness.report.model.figures import anchor
from harness.report.model.outcome_codes import NONE
from harness.report.model.outcomes import Test
from harness.report.model.timeline import Timeline
from harness.report.morning.rates import failure_pattern
from harness.report.morning.report import Morning
from harness.report.morning.tests import INCONCLUSIVE, failed
from harness.report.morning.text import rate_words

EXPECTED = frozenset("pfchtgbesx" + NONE)
"""The letters of verdicts that were expected, and that of a test that did not run."""
IN_A_ROW = re.compile(r"(.)\1+")
MOST_REASONS = 30
"""Reasons of failure that the view of a test lists, the latest first."""
MOST_NIGHTS = 800
"""Nights that the view of a test shows, the latest ones."""


def test_shards(
    tests: Sequence[Test], morning: Morning, cells: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:  # fmt: skip
    """Yield the shard of each test by name: its nights on every cell, as the page's script reads them. Cells
    are given by their index in `cells`."""
    by_name: dict[str, list[Test]] = defaultdict(list)
    for test in tests:
        by_name[test.name].append(test)
    rates = {
        group.test: rate_words(group) for group in (*morning.tests.new, *morning.tests.still, *morning.tests.flaky)
    }
    numbers = {cell: number for number, cell in enumerate(cells)}
    for name, alike in by_name.items():
        odd = [test for test in alike if not EXPECTED.issuperset(test.codes)]
        yield anchor("test", name), {
            "name": name,
            "rate": rates.get(name, ""),
            "cells": [{"cell": numbers[test.cell], **_on_cell(test, morning)} for test in alike],
            "reasons": _reasons([one for test in odd for one in test.runs]),
        }


def _on_cell(test: Test, morning: Morning) -> dict[str, Any]:
    """The test's nights on its cell."""
    nights, runs, codes = morning.nights, test.runs, test.codes
    first = max(0, nights.last + 1 - MOST_NIGHTS)
    signs = [NONE] * max(0, nights.last + 1 - first)
    numbers = nights.numbers(runs.rows["taken"])
    for night, sign in zip(numbers, codes, strict=True):
        if night >= first and signs[night - first] in EXPECTED:
            signs[night - first] = sign
    quiet = EXPECTED.issuperset(codes)
    bad = [] if quiet else [failed(one) for one in runs if one.outcome not in INCONCLUSIVE]
    pattern = failure_pattern(bad) if any(bad) else None
    return {
        "suite": test.suite, "first": first, "nights": _short(signs), "runs": len(runs),
        "bad": sum(bad), "kind": str(pattern.kind) if pattern else "well",
        "seconds": round(median(runs.rows["seconds"].tolist()), 3),
        "last": round(test.latest.seconds, 3),
    }  # fmt: skip


def _short(signs: Iterable[str]) -> str:
    """Encode the signs by run length: `p41Cp48`."""
    return IN_A_ROW.sub(lambda found: f"{found[1]}{len(found[0])}", "".join(signs))


def _reasons(runs: Iterable[VerdictRecord]) -> list[dict[str, Any]]:
    """The reasons of unexpected verdicts: how often each came, and when last."""
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
    """The last verdict of every test at each version, and which tests had different verdicts at one version."""

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
        """Add the tests of one cell: the sign of each test by version, turned into the signs of all tests for
        each version."""
        versions: dict[int, int | None] = {}
        rows: dict[int, dict[int, str]] = defaultdict(dict)
        for test in tests:
            of = test.runs.rows["version"].tolist()
            for version in {*of} - versions.keys():
                versions[version] = timeline.number(test.cell, test.runs.versions[version])
            self._add_test(cell, test, [versions[version] for version in of], rows)
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
        """Add the signs of one test on a cell to `rows`. `numbers` are the numbers of the versions of its runs."""
        place, signs = self._places[test.name], test.codes
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
        odd: dict[int, VerdictRecord] = {}
        for number, sign, verdict in zip(numbers, signs, test.runs, strict=True):
            if number is not None:
                odd.pop(number, None)
                if sign not in EXPECTED:
                    odd[number] = verdict
        for number, verdict in odd.items():
            self._reasons[number].setdefault(verdict.reason, []).append((cell, place))

    def at(self, number: int) -> dict[str, Any]:
        """The verdicts of one version: signs by cell, reasons with their cells and tests, and the tests whose
        verdicts differ."""
        return {
            "tests": self._signs.get(number, {}),
            "reasons": [[reason, found] for reason, found in self._reasons.get(number, {}).items()],
            "mixed": sorted(self._mixed.get(number, ())),
        }
