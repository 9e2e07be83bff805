"""The names of all metrics that are measured of a cell, so that a wrong one is told before anything is built."""

import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatchcase

from harness.core.cell import Cell
from harness.core.errors import CellError
from harness.core.suggestions import nearest
from harness.metrics import guest_benchmarks
from harness.metrics.app_load import PERCENTILES
from harness.metrics.instruction_count import POINTS, points
from harness.workloads.apps import app as apps

WHOLES = (
    "boot.instructions", "boot.instructions_to_program", "boot.wall", "boot.wall.end", "memory.used",
    "memory.minimum", "size.kernel", "size.compressed", "size.image", "size.symbols",
)  # fmt: skip
"""What every kernel has."""

HELD = ("memory.resident", "memory.private")
"""What a hypervisor's process holds while its guest serves."""

BY_KERNEL = ("size.section.*", "size.part.*")
"""What is named after what is found in a kernel's file."""


def patterns(cell: Cell) -> Iterator[str]:
    """The names, and patterns of those that only a build or a guest tells."""
    yield from WHOLES
    yield from HELD
    yield from BY_KERNEL
    yield from (f"boot.instructions.{point.phase}" for point in points(cell.kernel))
    lines = tomllib.loads(POINTS.read_text())[f"{cell.kernel}_line"]
    yield from (f"boot.wall.{line['phase']}" for line in lines)
    for benchmark in guest_benchmarks.benchmarks(cell.kernel, "tcg"):
        yield from (re.sub(r"\{\w+\}", "*", row["metric"]) for row in benchmark.numbers)
    for name in apps.names_for(cell):
        yield f"app.{name}.ready"
        for load in apps.app(name, cell).loads:
            yield f"app.{name}.{load}.throughput"
            yield from (f"app.{name}.{load}.p{percent:g}" for percent in PERCENTILES)


def check(metric: str, cell: Cell) -> None:
    """Raise `CellError` with the nearest names if nothing measures such a metric of the cell."""
    known = list(dict.fromkeys(patterns(cell)))
    if any(fnmatchcase(metric, pattern) for pattern in known):
        return
    near = nearest(metric, known) or [*WHOLES[:3], "app.NAME.LOAD.p99"]
    raise CellError(f"No measurement of {cell} takes {metric}.", f"The nearest are: {', '.join(near)}.")
