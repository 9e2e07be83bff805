"""Every verdict of a history, small: a letter a night for the view of a test, a letter a test for each version."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from statistics import median
from typing import Any

from harness.metrics.history.records import Judged
from harness.report.model.figures import anchor
from harness.report.model.outcome_codes import CODES, NONE, code_of
from harness.report.model.outcomes import Test
from harness.report.model.timeline import Timeline
from harness.report.morning.rates import tendency
from harness.report.morning.report import Morning
from harness.report.morning.tests import NO_WORD, failed
from harness.report.morning.text import rate_words

EXPECTED = frozenset("pfchtgbesx" + NONE)
"""Letters of what was expected, or was not run."""
MOST_REASONS = 30
"""Reasons of one test that its view lists, the latest first."""
MOST_NIGHTS = 800
"""Nights of a test that its view shows: the latest."""


def test_shards(tests: Sequence[Test], morning: Morning) -> Iterator[tuple[str, dict[str, Any]]]:
    """For each test its nights on every cell, as the page's script wants them; by the shard's name."""
    by_name: dict[str, list[Test]] = defaultdict(list)
    for test in tests:
        by_name[test.name].append(test)
    rates = {
        group.test: rate_words(group) for group in (*morning.tests.new, *morning.tests.still, *morning.tests.flaky)
    }
    for name, alike in by_name.items():
        yield anchor("test", name), {
            "name": name,
            "rate": rates.get(name, ""),
            "cells": [_on_cell(test, morning) for test in alike],
            "reasons": _reasons([one for test in alike for one in test.runs]),
        }


def _on_cell(test: Test, morning: Morning) -> dict[str, Any]:
    nights = morning.nights
    first = max(0, nights.last + 1 - MOST_NIGHTS)
    signs = [NONE] * max(0, nights.last + 1 - first)
    for one in test.runs:
        night = nights.number(one.taken) - first
        if night >= 0 and signs[night] in EXPECTED:
            signs[night] = CODES.get((one.outcome, one.expected)) or code_of(one)
    bad = [failed(one) for one in test.runs if one.outcome not in NO_WORD]
    said = tendency(bad) if any(bad) else None
    return {
        "cell": test.cell, "suite": test.suite, "first": first, "nights": "".join(signs), "runs": len(test.runs),
        "bad": sum(bad), "kind": str(said.kind) if said else "well",
        "seconds": round(median(one.seconds for one in test.runs), 3),
        "last": round(test.latest.seconds, 3),
    }  # fmt: skip


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
        self._cells = {cell: number for number, cell in enumerate(cells)}
        self._signs: dict[int, dict[int, list[str]]] = defaultdict(dict)
        self._reasons: dict[int, dict[str, list[tuple[int, int]]]] = defaultdict(dict)
        self._mixed: dict[int, set[tuple[int, int]]] = defaultdict(set)
        for test in tests:
            self._add(test, timeline)

    def _add(self, test: Test, timeline: Timeline) -> None:
        cell, place = self._cells[test.cell], self._places[test.name]
        numbers: dict[int, int | None] = {}
        odd: dict[int, Judged] = {}
        for one in test.runs:
            key = id(one.version)
            if key not in numbers:
                numbers[key] = timeline.number(test.cell, one.version)
            number = numbers[key]
            if number is None:
                continue
            of_version = self._signs[number]
            signs = of_version.get(cell)
            if signs is None:
                signs = of_version[cell] = [NONE] * len(self.names)
            sign = CODES.get((one.outcome, one.expected)) or code_of(one)
            if signs[place] not in (NONE, sign):
                self._mixed[number].add((cell, place))
            signs[place] = sign
            if odd:
                odd.pop(number, None)
            if sign not in EXPECTED:
                odd[number] = one
        for number, one in odd.items():
            self._reasons[number].setdefault(one.reason, []).append((cell, place))

    def at(self, number: int) -> dict[str, Any]:
        """Of one version: signs by cell, reasons with cells and tests, those that went both ways."""
        return {
            "tests": {cell: "".join(signs) for cell, signs in self._signs.get(number, {}).items()},
            "reasons": [[reason, found] for reason, found in self._reasons.get(number, {}).items()],
            "mixed": sorted(self._mixed.get(number, ())),
        }
