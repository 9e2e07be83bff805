"""Many machines: what is asked of a farm's workers, and what they answer.

A *farm* is a scheduler of dask.distributed and any number of workers; an *order* is a cell that one run wants;
an *ability* is a word for what a worker can do (`arch-x86_64`, `hypervisor-qemu`), a *need* the same word in an
order.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class CellRequest:
    """One cell of one run: its full name, what a worker must be able to do for it, in the order of the alphabet,
    and the digest of the OSv checkout's content (nothing where the kernel is not OSv's)."""

    run: str
    cell: str
    requirements: tuple[str, ...]
    checkout: str = ""


@dataclass(frozen=True, slots=True)
class TestList:
    """The tests of a cell whose image is built, the longest known first; or why there is no image: it is refused,
    or `fault` says what this worker's host got wrong."""

    worker: str
    tests: tuple[str, ...] = ()
    refused: str = ""
    fault: str = ""


WorkItem = tuple[str, str]
"""A cell and one of its tests or measurements."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What a worker's host got wrong, so that another may try it: why, and, where it came to a verdict, that as a
    line of the history's and its evidence."""

    why: str
    line: bytes = b""
    evidence: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaskResult:
    """What became of a task: `lines` are history records as JSON Lines, `evidence` the files of each test that was
    no pass, `refused` what of it could not be run, and why, `faults` what is to be tried again; `worker` on `host`
    answers."""

    worker: str
    host: str = ""
    lines: bytes = b""
    evidence: Mapping[WorkItem, Mapping[str, bytes]] = field(default_factory=dict)
    refused: Mapping[WorkItem, str] = field(default_factory=dict)
    faults: Mapping[WorkItem, Fault] = field(default_factory=dict)


def verdict_id(request: CellRequest, test: str, of_first: bool = False) -> str:
    """The id of a test's verdict: the same whoever runs it and however often, so that a history has it once; or of
    that of the run that was taken again for it."""
    return _id(request, "unit", test, *(["first"] if of_first else []))


def measurement_id(request: CellRequest, measurement: str, number: int) -> str:
    """The id of the record that a measurement gives as its `number`th, likewise."""
    return _id(request, "perf", measurement, str(number))


def _id(request: CellRequest, *parts: str) -> str:
    return hashlib.sha256(json.dumps([request.run, request.cell, *parts]).encode()).hexdigest()[:32]
