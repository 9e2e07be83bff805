"""The functions that run on a worker: requests in, records out. Errors of the host or the kernel are results."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path

from distributed import get_worker

from harness.core.cell import Cell
from harness.core.errors import CheckoutError, HarnessError, HostError, HypervisorError
from harness.core.events import Event, subscribed
from harness.core.machine import Image
from harness.host.temp_dir import temporary_dir
from harness.integrations.farm.capabilities import checkout_digest
from harness.integrations.farm.messages import (
    CellRequest,
    Fault,
    TaskResult,
    TestList,
    WorkItem,
    measurement_id,
    verdict_id,
)
from harness.metrics import suite
from harness.metrics.history.jsonl import line_of
from harness.metrics.history.records import VerdictRecord
from harness.metrics.records import Document, Sample
from harness.metrics.reuse_key import ReuseKeys
from harness.metrics.sampler import Sampler
from harness.metrics.suite import Measured
from harness.metrics.verdict_writer import console_of
from harness.report import evidence, reproduce
from harness.report.progress import SHOWN
from harness.runner.base import Run
from harness.runner.expectations import expectation_mismatch, expected
from harness.runner.session import Session
from harness.runner.verdict import Outcome

TOPIC = "osv-harness"
"""The topic under which workers publish their events."""

HOST_FAULTS = (HostError, HypervisorError, CheckoutError)
"""Errors that say nothing about a kernel, and may not happen on another worker."""

GOOD = (Outcome.PASSED, Outcome.SKIPPED)
EVIDENCE_SIZE = 4 << 20
"""Bytes of each file of evidence that are sent: the rest of a longer console adds nothing."""


def list_tests(request: CellRequest) -> TestList:
    """Build the cell's image and list its tests."""
    with publishing_events():
        try:
            session, cell = session_of(request)
            runner = session.runner(cell)
            with session.cpu_slots(1):
                runner.prepare()
            programs = [program for _, program in session.longest_first([cell])]
            names = tuple(program.name for program in programs)
            if not request.reuse:
                return TestList(_name(), names)
            image, keys = session.image(cell), _keys_of(session)
            sampler = Sampler(session, image, request.run)
            known = {program.name: keys.key(image, program) for program in programs}
            return TestList(_name(), names, keys=known, version=sampler.version, environment=sampler.environment)
        except HOST_FAULTS as error:
            return TestList(_name(), fault=str(error))
        except HarnessError as error:
            return TestList(_name(), refused=str(error))


def run_tests(request: CellRequest, names: Sequence[str], listed: TestList) -> TaskResult:
    """Run these tests of the cell.

    `listed` makes the scheduler prefer the worker that built the image; an idle worker may take the task all the
    same.
    """
    lines: list[bytes] = []
    saved: dict[WorkItem, dict[str, bytes]] = {}
    refused: dict[WorkItem, str] = {}
    faults: dict[WorkItem, Fault] = {}
    seconds: dict[str, float] = {}
    with publishing_events():
        for name in names:
            try:
                session, cell = session_of(request)
                run = session.run(cell, session.program(cell, name))
                image, accelerator = session.image(cell), session.recorded_accelerator(cell)
                line = b"".join(line_of(record) for record in _judged(request, session, image, run))
                passed = run.verdict.outcome is Outcome.PASSED
                files = {} if passed else _evidence(session, run, image, accelerator)
                if run.verdict.outcome is Outcome.HARNESS_ERROR:
                    faults[request.cell, name] = Fault(run.verdict.reason, line, files)
                    continue
                lines.append(line)
                if run.verdict.outcome is Outcome.PASSED:
                    seconds[name] = run.verdict.observation.seconds
                else:
                    saved[request.cell, name] = files
            except HOST_FAULTS as error:
                faults[request.cell, name] = Fault(str(error))
            except HarnessError as error:
                refused[request.cell, name] = str(error)
        if seconds:
            session.durations.record(cell, session.recorded_accelerator(cell), seconds)
    return TaskResult(_name(), os.uname().nodename, b"".join(lines), saved, refused, faults)


def measure(asked: Sequence[tuple[CellRequest, str]], duration: float) -> TaskResult:
    """Take these measurements on this worker, one after the other: numbers of one task may be compared."""
    lines: list[bytes] = []
    refused: dict[WorkItem, str] = {}
    faults: dict[WorkItem, Fault] = {}
    with publishing_events():
        for request, name in asked:
            try:
                session, cell = session_of(request)
                taken = suite.prepare(session, cell, name, request.run, duration).take()
            except HOST_FAULTS as error:
                faults[request.cell, name] = Fault(str(error))
            except HarnessError as error:
                refused[request.cell, name] = str(error)
            else:
                lines += _measured(request, name, taken)
    return TaskResult(_name(), os.uname().nodename, b"".join(lines), {}, refused, faults)


def session_of(request: CellRequest) -> tuple[Session, Cell]:
    """This worker's session and the cell. Raises `HarnessError` if the checkout is not the requested one."""
    session = _session_for(request.checkout)
    if request.checkout and session.osv_root and checkout_digest(session.osv_root) != request.checkout:
        raise CheckoutError(
            f"The worker's OSv checkout at {session.osv_root} is no longer what it was when the worker began.",
            "Start the worker anew, or put the checkout back.",
        )
    return session, session.cell(request.cell)


@cache
def _session_for(checkout: str) -> Session:
    """One session for each content of the checkout: it keeps images."""
    return Session()


@cache
def _keys_of(session: Session) -> ReuseKeys:
    """One for each session: it knows what images hold."""
    return ReuseKeys(session)


def _judged(request: CellRequest, session: Session, image: Image, run: Run) -> Iterator[VerdictRecord | Document]:
    """The verdict of the run and the console of a failure; those of the first run before, if it was run again."""
    sampler, name = Sampler(session, image, request.run), run.program.name
    expectation = expected(image.cell, name, session.recorded_accelerator(image.cell))
    key = _keys_of(session).key(image, run.program) if request.reuse and not run.first else ""
    for attempt in (run.first, run):
        if attempt is None:
            continue
        verdict = attempt.verdict
        wrong = verdict.outcome not in GOOD
        if expectation:
            wrong = bool(expectation_mismatch(expectation, verdict.outcome, date.today()))
        judged = VerdictRecord(
            "unit", request.cell, name, str(verdict.outcome), not wrong, verdict.reason,
            verdict.observation.seconds, sampler.version, sampler.environment, request.run, time.time(),
            verdict_id(request, name, attempt is run.first), key,
        )  # fmt: skip
        yield judged
        if console := console_of(judged, attempt):
            yield console


def _measured(request: CellRequest, name: str, taken: Measured) -> Iterator[bytes]:
    records: list[Sample | Document] = [*taken.samples, *taken.documents]
    for number, record in enumerate(records):
        yield line_of(replace(record, id=measurement_id(request, name, number)))
    yield from map(line_of, taken.commits)


def _evidence(session: Session, run: Run, image: Image, accelerator: str) -> dict[str, bytes]:
    line = reproduce.test_again(session, image.cell, run.program.name, None)
    again = reproduce.on_worker(line, _name(), os.uname().nodename)
    with temporary_dir("osv-harness-evidence-") as folder:
        written = evidence.write(run, image, accelerator, folder, again)
        return {path.name: _beginning(path) for path in written.iterdir() if path.is_file()}


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(EVIDENCE_SIZE)


@contextmanager
def publishing_events() -> Iterator[None]:
    """Publish what happens on this worker, inside the block, to the farm's clients."""
    worker = get_worker()

    def tell(event: Event) -> None:
        if event.kind.startswith(SHOWN):
            worker.log_event(TOPIC, {"kind": event.kind, "about": event.about, "detail": event.detail[:300]})

    with subscribed(tell):
        yield


def _name() -> str:
    return str(get_worker().name)
