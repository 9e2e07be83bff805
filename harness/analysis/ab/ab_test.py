"""A whole comparison: both sides built and measured on this host, and what is to be kept and shown of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from harness.analysis.ab import sides
from harness.analysis.ab.sequential_test import Judgement
from harness.core.run_id import new_run_id
from harness.metrics.records import Document
from harness.metrics.suite import Measured
from harness.runner.session import Lab


@dataclass(frozen=True, slots=True)
class AbRequest:
    """What is compared: two sides as a person names them, on a cell where they name none; at most so many `pairs`,
    until a change of `interesting` (a share) is shown or ruled out; `duration` is of each load in seconds;
    `run` the id of the run that keeps what is measured."""

    a: str
    b: str
    cell: str
    metrics: tuple[str, ...]
    pairs: int
    interesting: float
    duration: float
    run: str = field(default_factory=new_run_id)


@dataclass(frozen=True, slots=True)
class Shown:
    """One side: its name as it was given, its cell, its kernel's version."""

    name: str
    cell: str
    version: str


@dataclass(frozen=True, slots=True)
class AbTest:
    """What came of it: the sides, a judgement of each metric, and the document for the history."""

    a: Shown
    b: Shown
    judgements: dict[str, Judgement]
    document: Document


def run_ab_test(lab: Lab, question: AbRequest, keep: Callable[[Measured], None]) -> AbTest:
    """Build both, and measure them in turns; `keep` is given all that was measured. Raises `HarnessError`."""
    cell, metrics = lab.cell(question.cell), question.metrics
    named = question.a, question.b
    a, b = (sides.build(lab, cell, name, metrics, question.duration, question.run) for name in named)
    found = sides.compare(a, b, metrics, question.pairs, question.interesting, keep, Random())
    return AbTest(_shown(a), _shown(b), found, _document(a, b, found))


def _shown(side: sides.Side) -> Shown:
    version = next(iter(side.measurements.values())).taker.version.described
    return Shown(side.name, str(side.cell), version)


def _document(a: sides.Side, b: sides.Side, found: dict[str, Judgement]) -> Document:
    taker = next(iter(b.measurements.values())).taker
    body = {
        "a": a.name,
        "b": b.name,
        "a_cell": str(a.cell),
        "judgements": [one.to_json() for one in found.values()],
    }
    return Document(
        "comparison", str(b.cell), f"{a.name} against {b.name}", body, taker.version, taker.run, time.time()
    )
