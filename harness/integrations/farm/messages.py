"""The messages between a farm's client and its workers.

A *farm* is a scheduler of dask.distributed and any number of workers. A *request* is a cell that one run wants. A
*capability* is a word for what a worker can do (`arch-x86_64`, `hypervisor-qemu`); a *requirement* is the same
word in a request.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.metrics.records import Environment, Version


@dataclass(frozen=True, slots=True)
class CellRequest:
    """One cell of one run: its full name, the sorted requirements, and the digest of the OSv checkout's content
    (empty for other kernels). With `reuse`, workers make reuse keys."""

    run: str
    cell: str
    requirements: tuple[str, ...]
    checkout: str = ""
    reuse: bool = False


@dataclass(frozen=True, slots=True)
class TestList:
    """The tests of a cell whose image is built, the longest first; or why there is no image: `refused` if it can't
    be built, `fault` if this worker's host got something wrong.

    If asked for, `keys` are the tests' reuse keys there, of a kernel of this `version` in this `environment`.
    """

    worker: str
    tests: tuple[str, ...] = ()
    refused: str = ""
    fault: str = ""
    keys: Mapping[str, str] = field(default_factory=dict)
    version: Version | None = None
    environment: Environment | None = None


WorkItem = tuple[str, str]
"""A cell, and one of its tests or measurements."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What a worker's host got wrong, so that another worker may try: the reason and, if there was a verdict, its
    history line and its evidence."""

    why: str
    line: bytes = b""
    evidence: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TaskResult:
    """The result of a task by `worker` on `host`.

    `lines` are history records as JSON Lines, `evidence` the files of each test that did not pass, `refused` what
    could not be run and why, `faults` what is to be tried again.
    """

    worker: str
    host: str = ""
    lines: bytes = b""
    evidence: Mapping[WorkItem, Mapping[str, bytes]] = field(default_factory=dict)
    refused: Mapping[WorkItem, str] = field(default_factory=dict)
    faults: Mapping[WorkItem, Fault] = field(default_factory=dict)


def verdict_id(request: CellRequest, test: str, of_first: bool = False) -> str:
    """The id of a test's verdict. It is the same whoever runs the test and however often, so a history has it
    once. `of_first` gives the id of the first run's verdict, where the test was run again."""
    return _id(request, "unit", test, *(["first"] if of_first else []))


def measurement_id(request: CellRequest, measurement: str, number: int) -> str:
    """The id of the `number`th record of a measurement, by the same rule."""
    return _id(request, "perf", measurement, str(number))


def _id(request: CellRequest, *parts: str) -> str:
    return hashlib.sha256(json.dumps([request.run, request.cell, *parts]).encode()).hexdigest()[:32]
