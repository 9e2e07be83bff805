"""Turns cell requests into tasks, lets the farm run them, and reports for each its result or why there is none."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from io import BytesIO
from typing import Any

from distributed import Client, Future, KilledWorker, as_completed
from distributed.scheduler import NoValidWorkerError

from harness.core.events import publish
from harness.core.procedure import DURATION
from harness.core.text import one_line
from harness.host.cache import digest_of
from harness.integrations.farm.capabilities import missing_capabilities
from harness.integrations.farm.messages import (
    CellRequest,
    Fault,
    TaskResult,
    TestList,
    WorkItem,
    measurement_id,
    verdict_id,
)
from harness.integrations.farm.tasks import ListTask, MeasureTask, Task, TestTask, capable_workers
from harness.integrations.farm.worker import TOPIC, list_tests, measure, run_tests
from harness.metrics.history.jsonl import line_of, records_in
from harness.metrics.history.records import VerdictRecord
from harness.runner.session import Session

LONGEST = 300
"""Characters of a worker's text that are shown."""

DROPPED = "the farm's scheduler ended, or dropped it"
HANDOVER_SECONDS = 120
"""How long a result may take from its worker to here."""

SOMEBODY = "a worker"
"""Stands for the worker that failed a task, if dask does not name it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do for every cell: run the tests that match a pattern, `chunk` of them per task; take measurements
    with loads of `duration` seconds, all cells on one worker if `together`."""

    tests: tuple[str, ...] = ("*",)
    chunk: int = 20
    measurements: tuple[str, ...] = ()
    together: bool = False
    duration: float = DURATION


@dataclass(frozen=True, slots=True)
class NotRun:
    """What was requested and not run, and why. `what` is a test, a measurement, or empty for the whole cell."""

    cell: str
    what: str
    why: str


Split = Callable[[CellRequest, TestList, Sequence[str]], tuple[list[str], TaskResult]]


class Dispatcher:
    """One run on a farm. `store` receives each result; `known` are the ids of records that need no run. `split`
    takes from a cell's tests those that are reused, and gives their records."""

    def __init__(
        self, farm: Client, session: Session, plan: Plan, known: Set[str], store: Callable[[TaskResult], None],
        split: Split | None = None,
    ) -> None:  # fmt: skip
        self._split = split
        self._farm = farm
        self._session = session
        self._plan = plan
        self._known = known
        self._store = store
        self._tasks: dict[str, Task] = {}
        self._images: dict[CellRequest, Future[Any]] = {}
        self._not_run: list[NotRun] = []
        self._finished = 0

    def run(self, requests: Sequence[CellRequest], last_host: Callable[[CellRequest], str]) -> list[NotRun]:
        """Run all requests; returns what was not run. `last_host` names the host that last measured a request's
        cell."""
        first = [self._submit(ListTask(request)) for request in requests] if self._plan.tests else []
        first += [self._submit(task) for task in self._measure_tasks(requests, last_host)]
        waiting = as_completed(first)
        with receiving_events(self._farm):
            for future in waiting:
                task = self._tasks[future.key]
                waiting.update(self._handle(task, future))
                self._finished += 1
                publish("farm.progress", f"{self._finished} of {len(self._tasks)} tasks over")
        return self._not_run

    def _measure_tasks(
        self, requests: Sequence[CellRequest], last_host: Callable[[CellRequest], str]
    ) -> Iterator[MeasureTask]:
        wanted = [
            tuple(
                (request, name)
                for name in self._plan.measurements
                if measurement_id(request, name, 0) not in self._known
            )
            for request in requests
        ]
        groups = [tuple(pair for group in wanted for pair in group)] if self._plan.together else wanted
        there = {
            capability for capabilities in worker_capabilities(self._farm).values() for capability in capabilities
        }
        for group in filter(None, groups):
            home = last_host(group[0][0])
            yield MeasureTask(group, home if f"host-{home}" in there else "")

    def _handle(self, task: Task, future: Future[Any]) -> Iterable[Future[Any]]:
        """Handle a finished task; returns the tasks that follow from it."""
        try:
            result = future.result(timeout=HANDOVER_SECONDS)
        except NoValidWorkerError:
            return self._reassign(task)
        except KilledWorker as error:
            self._give_up(task, f"{error.allowed_failures + 1} workers ended while they had it")
        except CancelledError:
            self._give_up(task, DROPPED)
        except TimeoutError as error:
            # The task's own, or dask's: what a scheduler forgot while this client was away comes never.
            if future.status == "error":
                return self._retry(task, dict.fromkeys(task.parts, Fault(plain(repr(error)))), SOMEBODY, "")
            self._give_up(task, DROPPED)
        except Exception as error:  # of the task's code or of dask: the worker's host may be at fault
            fault = Fault(plain(f"{type(error).__name__}: {error}"))
            return self._retry(task, dict.fromkeys(task.parts, fault), SOMEBODY, "")
        else:
            if isinstance(task, ListTask):
                return self._chunks(task, result, future)
            self._store(result)
            self._not_run += [NotRun(cell, name, why) for (cell, name), why in result.refused.items()]
            if result.faults:
                return self._retry(task, result.faults, result.worker, result.host)
        return []

    def _reassign(self, task: Task) -> Iterable[Future[Any]]:
        """Submit a task again that no worker may take as it is: the host that was to measure it is gone, or every
        worker left has failed it before."""
        if isinstance(task, MeasureTask) and task.home:
            publish("farm.moved", task.requests[0][0].cell, f"{task.home} is gone: measured elsewhere")
            return [self._submit(replace(task, home=""))]
        if task.tries.failed and task.tries.avoid_failed:
            return [self._submit(replace(task, tries=replace(task.tries, avoid_failed=False)))]
        self._give_up(task, self._why_nobody(task))
        return []

    def _retry(
        self, task: Task, faults: Mapping[WorkItem, Fault], worker: str, host: str
    ) -> Iterable[Future[Any]]:
        """Retry the parts of a task that a host got wrong, on another worker if there is one, after all tasks not
        tried yet. After the last try its result is stored.

        Measurements that belong together stay on their host.
        """
        tries = task.tries.after(worker)
        for (cell, name), fault in faults.items():
            publish("farm.faulted", f"{name} on {cell}".removeprefix(" on "), plain(f"by {worker}: {fault.why}"))
            note = {"fault.txt": f"{worker} on {host}: {fault.why}\n".encode()}
            kept = {(cell, f"{name or 'image'}.try-{len(tries.failed)}"): {**fault.evidence, **note}}
            self._store(TaskResult(worker, host, evidence=kept))
        if not tries.exhausted:
            retried = replace(task.only(faults), tries=tries)
            if isinstance(retried, MeasureTask) and (retried.home or self._plan.together):
                retried = replace(retried, home=host)
            return [self._submit(retried)]
        for part, fault in faults.items():
            if fault.line:
                self._store(TaskResult(worker, host, _with_note(fault.line, tries.note), {part: fault.evidence}))
            else:
                self._not_run.append(NotRun(*part, fault.why + tries.note))
        return []

    def _chunks(self, task: ListTask, listed: TestList, future: Future[Any]) -> Iterable[Future[Any]]:
        request = task.request
        if listed.fault:
            return self._retry(task, {(request.cell, ""): Fault(listed.fault)}, listed.worker, "")
        if listed.refused:
            self._give_up(task, listed.refused)
            return []
        self._images[request] = future
        names = [
            name
            for name in listed.tests
            if verdict_id(request, name) not in self._known
            and any(fnmatchcase(name, pattern) for pattern in self._plan.tests)
        ]
        if self._split:
            names, reused = self._split(request, listed, names)
            self._store(reused)
        size = self._plan.chunk
        return [self._submit(TestTask(request, tuple(names[at : at + size]))) for at in range(0, len(names), size)]

    def _submit(self, task: Task) -> Future[Any]:
        key = f"{type(task).__name__.lower()}-{digest_of({'task': repr(task)})[:24]}"
        self._tasks[key] = task
        others = (
            task.tries.others(capable_workers(task, worker_capabilities(self._farm))) if task.tries.failed else []
        )
        how: dict[str, Any] = {
            "key": key,
            "resources": dict.fromkeys(task.requirements, 1),
            "workers": others or None,
            "priority": -len(task.tries.failed),
        }
        match task:
            case ListTask(request):
                return self._farm.submit(list_tests, request, **how)
            case TestTask(request, names):
                return self._farm.submit(run_tests, request, names, self._images[request], **how)
            case MeasureTask(requests):
                return self._farm.submit(measure, requests, self._plan.duration, **how)

    def _give_up(self, task: Task, why: str) -> None:
        self._not_run += [NotRun(cell, what, why) for cell, what in task.parts]

    def _why_nobody(self, task: Task) -> str:
        return missing_capabilities(
            self._session, self._session.cell(task.parts[0][0]), task.requirements, worker_capabilities(self._farm)
        )


def worker_capabilities(farm: Client) -> dict[str, frozenset[str]]:
    """The capabilities of each connected worker, by name."""
    rows = farm.scheduler_info(n_workers=-1)["workers"].values()
    return {str(row["name"]): frozenset(row["resources"]) for row in rows}


def _with_note(line: bytes, more: str) -> bytes:
    """The line of a verdict, with `more` added to its reason."""
    records = records_in(BytesIO(line))
    noted = (replace(one, reason=one.reason + more) if isinstance(one, VerdictRecord) else one for one in records)
    return b"".join(map(line_of, noted))


@contextmanager
def receiving_events(farm: Client) -> Iterator[None]:
    """Publish here the events that workers publish, and workers that join or are lost."""

    def republish(event: tuple[float, dict[str, str]]) -> None:
        _, event_body = event
        publish(plain(event_body["kind"]), plain(event_body["about"]), plain(event_body["detail"]))

    def note_worker(event: tuple[float, dict[str, str]]) -> None:
        _, event_body = event
        if event_body.get("action") in ("add-worker", "remove-worker"):
            kind = "farm.joined" if event_body["action"] == "add-worker" else "farm.lost"
            publish(kind, plain(event_body["worker"]))

    farm.subscribe_topic(TOPIC, republish)
    farm.subscribe_topic("all", note_worker)
    try:
        yield
    finally:
        farm.unsubscribe_topic(TOPIC)
        farm.unsubscribe_topic("all")


def plain(text: str) -> str:
    """Text of a worker, made safe to show on one line."""
    return one_line(text)[:LONGEST]
