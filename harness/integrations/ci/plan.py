"""The plan of a night for the runners of one arch: kernels to build, each once, and the cells that wait for
them."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.core.cell import Cell
from harness.core.errors import HarnessError
from harness.core.matrix import Matrix
from harness.core.whole_files import write_whole
from harness.host.availability import Support
from harness.kernels.osv import build_config
from harness.metrics.records import Document, Version
from harness.report.model.spans import PLAN

JOBS_LIMIT = 256
"""The most jobs that GitHub makes of one matrix. Source: docs.github.com, Actions limits."""


@dataclass(frozen=True, slots=True)
class Planned:
    """One cell. `standing` and `reason` come from `harness.host.availability`; `build` names the kernel that it
    needs."""

    cell: str
    name: str
    slug: str
    build: str
    standing: str
    reason: str = ""

    @property
    def runs(self) -> bool:
        """Whether it runs tonight."""
        return self.standing == Support.RUNS


def plan(matrix: Matrix, rows: Iterable[Mapping[str, Any]], arch: str) -> list[Planned]:
    """The cells of the arch, from the rows of `osv-harness matrix --format json`."""
    found = []
    for row in rows:
        cell = matrix.parse(str(row["name"]), "linux")
        if cell.arch == arch:
            short = matrix.short(cell)
            found.append(
                Planned(str(cell), short, cell.slug, _build(cell), str(row["standing"]), str(row["reason"]))
            )
    return found


def builds(planned: Sequence[Planned]) -> list[dict[str, str]]:
    """One job for each kernel that a cell needs: its name, and the cells that share it."""
    groups: dict[str, list[str]] = defaultdict(list)
    for row in planned:
        if row.runs:
            groups[row.build].append(row.cell)
    return _within_limit([{"name": name, "cells": " ".join(cells)} for name, cells in groups.items()])


def cells(planned: Sequence[Planned]) -> list[dict[str, str]]:
    """One job for each cell that runs here."""
    return _within_limit(
        [{"cell": row.cell, "name": row.name, "slug": row.slug, "build": row.build} for row in planned if row.runs]
    )


def write(planned: Sequence[Planned], path: Path) -> None:
    """Write the plan, for the summary of the results."""
    rows = [{name: getattr(row, name) for name in Planned.__slots__} for row in planned]
    write_whole(path, json.dumps(rows, indent=1))


def record(planned: Sequence[Planned], arch: str, run: str, now: float) -> Document:
    """The plan as a document of the history, so that a report names cells that were planned and have no result.
    `now` is in seconds since 1970."""
    body = {
        "cells": sorted(row.cell for row in planned if row.runs),
        "others": {row.cell: f"{row.standing}: {row.reason}" for row in planned if not row.runs},
    }
    return Document(PLAN, "", arch, body, Version("", ""), run, now)


def read(path: Path) -> list[Planned]:
    """Read the plan that `write` wrote. Raises `HarnessError` if it is none."""
    try:
        return [Planned(**row) for row in json.loads(path.read_text())]
    except (OSError, ValueError, TypeError) as error:
        raise HarnessError(
            f"{path} is no plan of a night: {error}.", "`osv-harness ci plan` writes one."
        ) from error


def _build(cell: Cell) -> str:
    """The name of the cell's kernel: OSv's cells of one build tree share it; Debian's is one per arch."""
    tree = build_config.tree_name(cell) if cell.kernel == "osv" else cell.arch
    return f"{cell.kernel}-{tree}"


def _within_limit(jobs: list[dict[str, str]]) -> list[dict[str, str]]:
    if len(jobs) > JOBS_LIMIT:
        raise HarnessError(
            f"{len(jobs)} jobs are more than the {JOBS_LIMIT} that GitHub allows in a matrix.",
            "Use a smaller set.",
        )
    return jobs
