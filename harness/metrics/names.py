"""The names of all metrics that are measured of a cell, so that a wrong one is told before anything is built."""

import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase

from harness.core.cell import Cell
from harness.core.errors import CellError
from harness.core.suggestions import nearest
from harness.metrics import guest_benchmarks, registry
from harness.metrics.instruction_count import POINTS, points
from harness.workloads.apps import app as apps

SERVING = "nginx"
"""The app of which a metric of every app (`memory.resident`) is measured where it is asked for by its name."""


def taken_by(cell: Cell) -> Iterator[tuple[str, str]]:
    """Each metric's name, or the pattern of names that only a build or a guest tells, and what measures it."""
    for measurement, row in registry.of_kernel().items():
        for metric in row.metrics:
            yield from ((name, measurement) for name in _phases(metric.name, cell))
    for benchmark in guest_benchmarks.benchmarks(cell.kernel, "tcg"):
        yield from ((re.sub(r"\{\w+\}", "*", one["metric"]), benchmark.program.name) for one in benchmark.numbers)
    loads = {name: list(apps.app(name, cell).loads) for name in apps.names_for(cell)}
    for metric in registry.every_row()[registry.APP].metrics:
        yield from _of_apps(metric.name, loads)


def patterns(cell: Cell) -> Iterator[str]:
    """The names, and patterns of those that only a build or a guest tells."""
    return (name for name, _ in taken_by(cell))


def measurement_of(metric: str, cell: Cell) -> str:
    """What measures the metric. Raises `CellError` with the nearest names if nothing does."""
    known = dict(taken_by(cell))
    for pattern, measurement in known.items():
        if fnmatchcase(metric, pattern):
            return measurement
    near = nearest(metric, list(known)) or [*list(known)[:3], "app.NAME.LOAD.p99"]
    raise CellError(f"No measurement of {cell} takes {metric}.", f"The nearest are: {', '.join(near)}.")


def _phases(name: str, cell: Cell) -> list[str]:
    """The name with each phase of the kernel's boot in it, if it stands for phases."""
    if "{checkpoint}" in name:
        return [name.format(checkpoint=point.phase) for point in points(cell.kernel)]
    if "{line}" in name:
        lines = tomllib.loads(POINTS.read_text())[f"{cell.kernel}_line"]
        return [name.format(line=line["phase"]) for line in lines]
    return [name]


def _of_apps(name: str, loads: Mapping[str, Iterable[str]]) -> Iterator[tuple[str, str]]:
    """The name with each app, and each of its loads, in it, and what measures that."""
    if "{app}" not in name:
        yield name, f"app-{SERVING}"
    elif "{load}" not in name:
        yield from ((name.format(app=app), f"app-{app}") for app in loads)
    else:
        for app, scenarios in loads.items():
            yield from ((name.format(app=app, load=load), f"app-{app}") for load in scenarios)
