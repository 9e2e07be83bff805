"""Runs an A/B test on this host, and makes the document that the history keeps of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from harness.analysis.ab import sides
from harness.analysis.ab.sequential_test import Judgement
from harness.core.run_id import new_run_id
from harness.metrics.records import Document
from harness.metrics.suite import Measured
from harness.runner.session import Session


@dataclass(frozen=True, slots=True)
class AbRequest:
    """What to compare: two sides, named as on the command line, on a cell that is used where a name gives none.

    At most `pairs` pairs are measured, until a change of at least `interesting` (a share) is shown or ruled out.
    `duration` is the length of each load in seconds, `run` the id of the run that stores the measurements.
    """

    a: str
    b: str
    cell: str
    metrics: tuple[str, ...]
    pairs: int
    interesting: float
    duration: float
    run: str = field(default_factory=new_run_id)


@dataclass(frozen=True, slots=True)
class SideInfo:
    """One side: its name as given, its cell, the version of its kernel."""

    name: str
    cell: str
    version: str


@dataclass(frozen=True, slots=True)
class AbTest:
    """The result: both sides, one judgement per metric, and the document for the history."""

    a: SideInfo
    b: SideInfo
    judgements: dict[str, Judgement]
    document: Document


def run_ab_test(session: Session, request: AbRequest, keep: Callable[[Measured], None]) -> AbTest:
    """Build both sides and measure them in turns. `keep` receives every measurement. Raises `HarnessError`."""
    cell, metrics, names = session.cell(request.cell), request.metrics, (request.a, request.b)
    a, b = (sides.build(session, cell, name, metrics, request.duration, request.run) for name in names)
    judgements = sides.compare(a, b, metrics, request.pairs, request.interesting, keep, Random())
    return AbTest(_side_info(a), _side_info(b), judgements, _document(a, b, judgements))


def _side_info(side: sides.Side) -> SideInfo:
    version = next(iter(side.measurements.values())).sampler.version.described
    return SideInfo(side.name, str(side.cell), version)


def _document(a: sides.Side, b: sides.Side, judgements: dict[str, Judgement]) -> Document:
    sampler = next(iter(b.measurements.values())).sampler
    body = {
        "a": a.name,
        "b": b.name,
        "a_cell": str(a.cell),
        "judgements": [one.to_json() for one in judgements.values()],
    }
    return Document(
        "comparison", str(b.cell), f"{a.name} against {b.name}", body, sampler.version, sampler.run, time.time()
    )
