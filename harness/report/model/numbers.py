"""Encodes every number of a history compactly: the value of each series at each version, and how noisy each
series is."""

from collections import defaultdict
from collections.abc import Sequence
from math import isfinite
from typing import Any

import numpy as np

from harness.analysis.regression.finding import Finding
from harness.metrics.records import Metric
from harness.report.model.series import Series
from harness.report.model.timeline import Timeline

FEWEST = 5
"""The fewest versions of a series from which its noise is estimated."""


class Numbers:
    """Numbers by rows. A row is a metric of a cell and a subject, whatever environments it was measured in."""

    def __init__(self, series: Sequence[Series], timeline: Timeline, cells: Sequence[str]) -> None:
        self._timeline = timeline
        self._cells = {cell: number for number, cell in enumerate(cells)}
        self._metrics: dict[Metric, int] = {}
        self._groups: dict[str, int] = {}
        self._at: dict[int, dict[int, tuple[float, int]]] = defaultdict(dict)
        by_row: dict[tuple[str, str, str], list[Series]] = defaultdict(list)
        for one in series:
            by_row[one.metric.name, one.cell, one.subject].append(one)
        self._numbers = {key: number for number, key in enumerate(by_row)}
        self.rows = [self._row(number, alike) for number, alike in enumerate(by_row.values())]

    def _row(self, number: int, alike: Sequence[Series]) -> list[Any]:
        """Metric, cell, subject, and relative noise (None if unknown, 0 if exact)."""
        for one in sorted(alike, key=lambda one: one.latest):
            group = self._groups.setdefault(_where(one), len(self._groups))
            for point in one.points:
                if isfinite(point.value):
                    self._at[point.version][number] = point.value, group
        last = max(alike, key=lambda one: one.latest)
        metric = self._metrics.setdefault(last.metric, len(self._metrics))
        exact = all(one.exact for one in alike)
        return [metric, self._cells[last.cell], last.subject, 0 if exact else noise(alike)]

    def index(self, findings: Sequence[Finding]) -> dict[str, Any]:
        """What the numbers of all versions refer to, and the steps of the findings."""
        return {
            "metrics": [[one.name, one.unit, str(one.better), int(one.is_part)] for one in self._metrics],
            "rows": self.rows,
            "groups": list(self._groups),
            "steps": self._steps(findings),
        }

    def at(self, number: int) -> list[list[Any]]:
        """The numbers of one version, by rows. Consecutive rows of one group of environments are joined: the
        first row, how many they are, the group."""
        found = dict(sorted(self._at.get(number, {}).items()))
        runs: list[list[int]] = []
        for row, (_, group) in found.items():
            if runs and row == sum(runs[-1][:2]) and group == runs[-1][2]:
                runs[-1][1] += 1
            else:
                runs.append([row, 1, group])
        return [runs, [_short(value) for value, _ in found.values()]]

    def _steps(self, findings: Sequence[Finding]) -> list[list[Any]]:
        """Each step as its row, the two versions between which it lies, and the relative change."""
        found = []
        for one in findings:
            ends = [self._timeline.number(one.cell, version) for version in (one.before, one.after)]
            row = self._numbers.get((one.metric.name, one.cell, one.subject))
            if row is not None and None not in ends and one.confirmed is not False:
                found.append([row, *ends, _short(one.change)])
        return found


def noise(alike: Sequence[Series]) -> float | None:
    """The standard deviation of a version's number by chance, as a share of it. It is estimated from the
    differences of neighbouring versions, so that steps hardly change it. None if there are too few."""
    differences: list[float] = []
    for one in alike:
        values = np.array([point.value for point in one.points if isfinite(point.value)])
        level = float(np.median(np.abs(values))) if len(values) > 1 else 0.0
        if level:
            differences += (np.diff(values) / level).tolist()
    if len(differences) < FEWEST:
        return None
    moved = np.array(differences)
    return _short(1.4826 * float(np.median(np.abs(moved - np.median(moved)))) / 2**0.5)


def _where(one: Series) -> str:
    """The facts that must be equal for numbers to be compared."""
    where = one.environment
    facts = {"accelerator": where.accelerator, "emulator": where.emulator, "firmware": where.firmware}
    if not one.metric.exact:
        facts |= {
            "host": where.host, "cpu": where.cpu, "cpus": str(where.cpus), "governor": where.governor,
            "host kernel": where.host_kernel,
        }  # fmt: skip
    facts |= {"builder": one.builder, "procedure": one.procedure}
    return "\n".join(f"{name}: {value}" for name, value in facts.items() if value)


def _short(value: float) -> float:
    return int(value) if float(value).is_integer() else float(f"{value:.7g}")
