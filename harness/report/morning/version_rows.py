"""Describes the newest versions, one row each: their commits, the tests that broke or were fixed, and the
metrics that changed."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from harness.analysis.regression.finding import Finding
from harness.metrics.history.verdict_table import VerdictTable
from harness.metrics.records import Version
from harness.report.morning.changes import FLOOR, MetricChange, metric_changes
from harness.report.morning.tests import INCONCLUSIVE, failed

MOST_VERSIONS = 30
COLUMNS = ("boot", "memory", "size", "throughput")


@dataclass(frozen=True, slots=True)
class VersionRow:
    """What changed at `version` since `before`, the version that ran before it (None if there is none): tests
    that `broke`, tests that were `fixed`, and the greatest change in each of `COLUMNS` that has one."""

    version: Version
    before: Version | None
    broke: Sequence[str] = ()
    fixed: Sequence[str] = ()
    changes: Mapping[str, MetricChange] = field(default_factory=dict)


def version_rows(
    heads: Sequence[Version], judged: VerdictTable, findings: Iterable[Finding], flaky: Iterable[str],
    measured: Mapping[tuple[str, str, str], int],
) -> list[VersionRow]:  # fmt: skip
    """The rows of the newest of `heads`, which are ordered by time; the newest first. Flaky tests are left out,
    since their failures say nothing of a commit."""
    places = {version.commit: place for place, version in enumerate(heads)}
    oldest = len(heads) - MOST_VERSIONS
    turned = _turned(places, oldest, judged, frozenset(flaky))
    moved = _moved(places, oldest, findings, measured)
    return [
        VersionRow(
            heads[place], heads[place - 1] if place else None, sorted(turned[place, True]),
            sorted(turned[place, False]), moved[place],
        )
        for place in range(len(heads) - 1, max(oldest, 0) - 1, -1)
    ]  # fmt: skip


def _turned(
    places: Mapping[str, int], oldest: int, judged: VerdictTable, flaky: frozenset[str]
) -> dict[tuple[int, bool], set[str]]:
    """The tests that broke or were fixed, by the index of the version at which they did, and by whether they
    broke."""
    states: dict[tuple[str, str], dict[int, bool]] = defaultdict(dict)
    recent = judged.of_versions(lambda one: places.get(one.commit, -1) >= max(oldest - 1, 0))
    for one in recent.where(lambda kind: kind.outcome not in INCONCLUSIVE and kind.test not in flaky):
        runs, place = states[one.cell, one.test], places[one.version.commit]
        runs[place] = runs.get(place, False) or failed(one)
    turned: dict[tuple[int, bool], set[str]] = defaultdict(set)
    for (_, test), runs in states.items():
        ordered = sorted(runs)
        for before, place in pairwise(ordered):
            if runs[before] != runs[place]:
                turned[place, runs[place]].add(test)
    return turned


def _moved(
    places: Mapping[str, int], oldest: int, findings: Iterable[Finding],
    measured: Mapping[tuple[str, str, str], int],
) -> dict[int, dict[str, MetricChange]]:  # fmt: skip
    """The greatest change of each column, by the index of the version."""
    wholes = [
        one for one in findings
        if not one.metric.is_part and abs(one.change) >= FLOOR and one.confirmed is not False
        and places.get(one.after.commit, -1) >= oldest
    ]  # fmt: skip
    moved: dict[int, dict[str, MetricChange]] = defaultdict(dict)
    for change in sorted(metric_changes(wholes, measured), key=lambda one: abs(one.change)):
        place, column = places.get(change.after.commit), column_of(change.metric.name)
        if place is not None and column:
            moved[place][column] = change
    return moved


def column_of(metric: str) -> str:
    """The column of a metric; empty if it has none. A latency belongs to the column of its throughput."""
    first, last = metric.partition(".")[0], metric.rpartition(".")[2]
    return first if first in COLUMNS else last if last in COLUMNS else ""
