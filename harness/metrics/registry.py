"""Which measurements exist and how they are made: the rows of `metrics.toml`."""

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

from harness.metrics.records import Sample
from harness.metrics.sampler import Sampler
from harness.workloads.apps.app import App

METRICS = Path(__file__).with_name("metrics.toml")
APP = "app"
"""The table of what is measured of an app under load."""


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A metric's name or pattern, its unit, and briefly how it is measured."""

    name: str
    unit: str
    how: str


@dataclass(frozen=True, slots=True)
class MeasurementRow:
    """A measurement.

    `metrics` are those that it gives. `take` is the function that makes it, MODULE:NAME; with `takes_boots` it has
    a parameter for the number of boots. `in_a_lab` says that it does not depend on a clock.
    """

    name: str
    metrics: tuple[MetricRow, ...]
    take: str = ""
    takes_boots: bool = False
    in_a_lab: bool = False

    def function(self) -> Callable[..., list[Sample]]:
        """The function that makes it; called with a `Sampler` and the `App` that is booted."""
        module, _, name = self.take.partition(":")
        found: Callable[[Sampler, App], list[Sample]] = getattr(import_module(module), name)
        return found


@cache
def every_row() -> Mapping[str, MeasurementRow]:
    """All rows by name, in the order of the file, including that of the apps."""
    return {name: _row(name, **row) for name, row in tomllib.loads(METRICS.read_text()).items()}


def of_kernel() -> Mapping[str, MeasurementRow]:
    """The measurements of a kernel itself, the fastest first."""
    return {name: row for name, row in every_row().items() if name != APP}


def _row(name: str, metric: Mapping[str, Mapping[str, str]], **others: object) -> MeasurementRow:
    return MeasurementRow(name, tuple(MetricRow(one, **row) for one, row in metric.items()), **others)  # type: ignore[arg-type]
