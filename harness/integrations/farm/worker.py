"""What runs on a worker: orders in, records out. Nothing is raised that a person's host or kernel got wrong."""

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
    Listed,
    Named,
    TaskResult,
    judged_id,
    measured_id,
)
from harness.metrics import suite
from harness.metrics.history.jsonl import line_of
from harness.metrics.history.records import Judged
from harness.metrics.records import Document, Sample
from harness.metrics.sampler import Sampler
from harness.metrics.suite import Measured
from harness.report import evidence, reproduce
from harness.report.progress import SHOWN
from harness.runner.base import Run
from harness.runner.expectations import complaint, expected
from harness.runner.session import Lab
from harness.runner.verdict import Outcome

TOPIC = "osv-harness"
"""Where workers tell what happens."""

HOSTS_FAULTS = (HostError, HypervisorError, CheckoutError)
"""What says nothing of a kernel, and may be otherwise on another worker."""

GOOD = (Outcome.PASSED, Outcome.SKIPPED)
EVIDENCE_SIZE = 4 << 20
"""Bytes of a file of evidence that travel; more of a console than that says nothing more."""


def list_tests(order: CellRequest) -> Listed:
    """Build the cell's image and name its tests."""
    with told():
        try:
            lab, cell = lab_of(order)
            runner = lab.runner(cell)
            with lab.cpu_slots(1):
                runner.prepare()
            return Listed(_name(), tuple(program.name for _, program in lab.longest_first([cell])))
        except HOSTS_FAULTS as error:
            return Listed(_name(), fault=str(error))
        except HarnessError as error:
            return Listed(_name(), refused=str(error))


def run_tests(order: CellRequest, names: Sequence[str], listed: Listed) -> TaskResult:
    """Run these tests of the cell. `listed` says by its presence that who has it has the image, too: the
    scheduler prefers that worker, and an idle one may take the task all the same."""
    lines: list[bytes] = []
    kept: dict[Named, dict[str, bytes]] = {}
    refused: dict[Named, str] = {}
    faults: dict[Named, Fault] = {}
    seconds: dict[str, float] = {}
    with told():
        for name in names:
            try:
                lab, cell = lab_of(order)
                run = lab.run(cell, lab.program(cell, name))
                image, accelerator = lab.image(cell), lab.recorded_accelerator(cell)
                line = b"".join(line_of(judged) for judged in _judged(order, lab, image, run))
                passed = run.verdict.outcome is Outcome.PASSED
                evidence_ = {} if passed else _evidence(lab, run, image, accelerator)
                if run.verdict.outcome is Outcome.HARNESS_ERROR:
                    faults[order.cell, name] = Fault(run.verdict.reason, line, evidence_)
                    continue
                lines.append(line)
                if run.verdict.outcome is Outcome.PASSED:
                    seconds[name] = run.verdict.observation.seconds
                else:
                    kept[order.cell, name] = evidence_
            except HOSTS_FAULTS as error:
                faults[order.cell, name] = Fault(str(error))
            except HarnessError as error:
                refused[order.cell, name] = str(error)
        if seconds:
            lab.durations.record(cell, lab.recorded_accelerator(cell), seconds)
    return TaskResult(_name(), os.uname().nodename, b"".join(lines), kept, refused, faults)


def measure(asked: Sequence[tuple[CellRequest, str]], duration: float) -> TaskResult:
    """Take these measurements, each of a cell, here and one after the other: what one task measures may be
    compared."""
    lines: list[bytes] = []
    refused: dict[Named, str] = {}
    faults: dict[Named, Fault] = {}
    with told():
        for order, name in asked:
            try:
                lab, cell = lab_of(order)
                taken = suite.prepare(lab, cell, name, order.run, duration).take()
            except HOSTS_FAULTS as error:
                faults[order.cell, name] = Fault(str(error))
            except HarnessError as error:
                refused[order.cell, name] = str(error)
            else:
                lines += _measured(order, name, taken)
    return TaskResult(_name(), os.uname().nodename, b"".join(lines), {}, refused, faults)


def lab_of(order: CellRequest) -> tuple[Lab, Cell]:
    """This worker's lab and the cell. Raises `HarnessError` where they are not what was ordered."""
    lab = _lab_for(order.checkout)
    if order.checkout and lab.osv_root and checkout_digest(lab.osv_root) != order.checkout:
        raise CheckoutError(
            f"The worker's OSv checkout at {lab.osv_root} is no longer what it was when the worker began.",
            "Start the worker anew, or put the checkout back.",
        )
    return lab, lab.cell(order.cell)


@cache
def _lab_for(checkout: str) -> Lab:
    """One for each checkout's content: it keeps images."""
    return Lab()


def _judged(order: CellRequest, lab: Lab, image: Image, run: Run) -> Iterator[Judged]:
    """The run's verdict, after that of the one that it was taken again for."""
    taker, name = Sampler(lab, image, order.run), run.program.name
    expectation = expected(image.cell, name, lab.recorded_accelerator(image.cell))
    for one in (run.first, run):
        if one is None:
            continue
        verdict = one.verdict
        wrong = (
            complaint(expectation, verdict.outcome, date.today()) if expectation else verdict.outcome not in GOOD
        )
        yield Judged(
            "unit", order.cell, name, str(verdict.outcome), not wrong, verdict.reason,
            verdict.observation.seconds, taker.version, taker.environment, order.run, time.time(),
            judged_id(order, name, one is run.first),
        )  # fmt: skip


def _measured(order: CellRequest, name: str, taken: Measured) -> Iterator[bytes]:
    records: list[Sample | Document] = [*taken.samples, *taken.documents]
    for number, record in enumerate(records):
        yield line_of(replace(record, id=measured_id(order, name, number)))
    yield from map(line_of, taken.commits)


def _evidence(lab: Lab, run: Run, image: Image, accelerator: str) -> dict[str, bytes]:
    line = reproduce.test_again(lab, image.cell, run.program.name, None)
    again = reproduce.on_worker(line, _name(), os.uname().nodename)
    with temporary_dir("osv-harness-evidence-") as folder:
        written = evidence.write(run, image, accelerator, folder, again)
        return {path.name: _beginning(path) for path in written.iterdir() if path.is_file()}


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(EVIDENCE_SIZE)


@contextmanager
def told() -> Iterator[None]:
    """Tell the farm's clients what happens here inside the block."""
    worker = get_worker()

    def tell(event: Event) -> None:
        if event.kind.startswith(SHOWN):
            worker.log_event(TOPIC, {"kind": event.kind, "about": event.about, "detail": event.detail[:300]})

    with subscribed(tell):
        yield


def _name() -> str:
    return str(get_worker().name)
