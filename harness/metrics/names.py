"""The names of all metrics of a cell, so that a wrong name is reported before anything is built."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

from harness.core.cell import Cell
from harness.core.errors import CellError
from harness.core.suggestions import nearest
from harness.metrics import guest_benchmarks, registry
from harness.metrics.instruction_count import CHECKPOINTS_FILE, checkpoints
from harness.workloads.apps import app as apps

SERVING = "nginx"
"""The app with which metrics of every app (`memory.resident`) are measured if they are asked for by name."""


def taken_by(cell: Cell) -> Iterator[tuple[str, str]]:
    """Each metric's name, or a pattern if only a build or a guest knows the names, with its measurement."""
    for measurement, row in registry.of_kernel().items():
        for metric in row.metrics:
            yield from ((name, measurement) for name in _phases(metric.name, cell))
    for benchmark in guest_benchmarks.benchmarks(cell.kernel, "tcg"):
        yield from ((re.sub(r"\{\w+\}", "*", one["metric"]), benchmark.program.name) for one in benchmark.numbers)
    loads = {name: list(apps.app(name, cell).loads) for name in apps.names_for(cell)}
    for metric in registry.every_row()[registry.APP].metrics:
        yield from _of_apps(metric.name, loads)


def patterns(cell: Cell) -> Iterator[str]:
    """The metrics' names, or patterns of those that only a build or a guest knows."""
    return (name for name, _ in taken_by(cell))


def measurement_of(metric: str, cell: Cell) -> str:
    """The measurement that gives the metric. Raises `CellError` with the nearest names if none does."""
    known = dict(taken_by(cell))
    for pattern, measurement in known.items():
        if fnmatchcase(metric, pattern):
            return measurement
    near = nearest(metric, list(known)) or [*list(known)[:3], "app.NAME.LOAD.p99"]
    raise CellError(f"No measurement of {cell} takes {metric}.", f"The nearest are: {', '.join(near)}.")


def _phases(name: str, cell: Cell) -> list[str]:
    """The name for each phase of the kernel's boot, if it stands for phases."""
    if "{checkpoint}" in name:
        return [name.format(checkpoint=point.phase) for point in checkpoints(cell.kernel)]
    if "{line}" in name:
        lines = tomllib.loads(CHECKPOINTS_FILE.read_text())[f"{cell.kernel}_line"]
        return [name.format(line=line["phase"]) for line in lines]
    return [name]


def _of_apps(name: str, loads: Mapping[str, Iterable[str]]) -> Iterator[tuple[str, str]]:
    """The name for each app and each of its loads, with its measurement."""
    if "{app}" not in name:
        yield name, f"app-{SERVING}"
    elif "{load}" not in name:
        yield from ((name.format(app=app), f"app-{app}") for app in loads)
    else:
        for app, scenarios in loads.items():
            yield from ((name.format(app=app, load=load), f"app-{app}") for load in scenarios)
