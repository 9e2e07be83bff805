"""Turns orders into tasks, has the farm run them, and says of each what came of it or why nothing did."""

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
from harness.integrations.farm.capabilities import lacking
from harness.integrations.farm.messages import (
    CellRequest,
    Fault,
    Listed,
    Named,
    TaskResult,
    judged_id,
    measured_id,
)
from harness.integrations.farm.tasks import Chunk, Listing, Measuring, Task, able
from harness.integrations.farm.worker import TOPIC, list_tests, measure, run_tests
from harness.metrics.history.jsonl import line_of, records_in
from harness.metrics.history.records import Judged
from harness.runner.session import Lab

LONGEST = 300
"""Characters of what a worker tells."""

SOMEBODY = "a worker"
"""Who failed a task, where dask does not tell."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is wanted of every cell: its tests that match a pattern, `chunk` of them a task; measurements, of all
    cells on one worker if `together`, with loads of `duration` seconds."""

    tests: tuple[str, ...] = ("*",)
    chunk: int = 20
    measurements: tuple[str, ...] = ()
    together: bool = False
    duration: float = DURATION


@dataclass(frozen=True, slots=True)
class NotRun:
    """What was asked for and not run (`what` is a test, a measurement, or nothing for the cell), and why."""

    cell: str
    what: str
    why: str


class Dispatcher:
    """One run on a farm. `land` is given each answer; `known` are the ids of records that need no run."""

    def __init__(
        self, farm: Client, lab: Lab, plan: Plan, known: Set[str], land: Callable[[TaskResult], None]
    ) -> None:
        self._farm = farm
        self._lab = lab
        self._plan = plan
        self._known = known
        self._land = land
        self._tasks: dict[str, Task] = {}
        self._images: dict[CellRequest, Future[Any]] = {}
        self._unrun: list[NotRun] = []
        self._over = 0

    def ask(self, orders: Sequence[CellRequest], homes: Callable[[CellRequest], str]) -> list[NotRun]:
        """Have all of it run; returns what was not. `homes` names the host that measured an order's cell last."""
        first = [self._submit(Listing(order)) for order in orders] if self._plan.tests else []
        first += [self._submit(task) for task in self._measurings(orders, homes)]
        waiting = as_completed(first)
        with heard(self._farm):
            for future in waiting:
                task = self._tasks[future.key]
                waiting.update(self._take(task, future))
                self._over += 1
                publish("farm.progress", f"{self._over} of {len(self._tasks)} tasks over")
        return self._unrun

    def _measurings(
        self, orders: Sequence[CellRequest], homes: Callable[[CellRequest], str]
    ) -> Iterator[Measuring]:
        wanted = [
            tuple(
                (order, name) for name in self._plan.measurements if measured_id(order, name, 0) not in self._known
            )
            for order in orders
        ]
        groups = [tuple(pair for group in wanted for pair in group)] if self._plan.together else wanted
        there = {ability for abilities in workers_of(self._farm).values() for ability in abilities}
        for group in filter(None, groups):
            home = homes(group[0][0])
            yield Measuring(group, home if f"host-{home}" in there else "")

    def _take(self, task: Task, future: Future[Any]) -> Iterable[Future[Any]]:
        """What follows from a task that is over."""
        try:
            result = future.result()
        except NoValidWorkerError:
            return self._moved(task)
        except KilledWorker as error:
            self._give_up(task, f"{error.allowed_failures + 1} workers ended while they had it")
        except CancelledError:
            self._give_up(task, "the farm's scheduler ended, or dropped it")
        except Exception as error:  # of the task's code or of dask's: the worker's host may be at fault
            fault = Fault(plain(f"{type(error).__name__}: {error}"))
            return self._again(task, dict.fromkeys(task.parts, fault), SOMEBODY, "")
        else:
            if isinstance(task, Listing):
                return self._chunks(task, result, future)
            self._land(result)
            self._unrun += [NotRun(cell, name, why) for (cell, name), why in result.refused.items()]
            if result.faults:
                return self._again(task, result.faults, result.worker, result.host)
        return []

    def _moved(self, task: Task) -> Iterable[Future[Any]]:
        """A task again that nobody can have as it is: the host is gone that was to measure it, or those workers
        that had not failed it."""
        if isinstance(task, Measuring) and task.home:
            publish("farm.moved", task.asked[0][0].cell, f"{task.home} is gone: measured elsewhere")
            return [self._submit(replace(task, home=""))]
        if task.tries.failed and task.tries.elsewhere:
            return [self._submit(replace(task, tries=replace(task.tries, elsewhere=False)))]
        self._give_up(task, self._why_nobody(task))
        return []

    def _again(self, task: Task, faults: Mapping[Named, Fault], worker: str, host: str) -> Iterable[Future[Any]]:
        """What a host got wrong, tried once more by another worker if there is one, after all that was not tried
        yet; or, if it was tried often enough, landed as what came of the last try.

        What is measured together stays on its host.
        """
        tries = task.tries.after(worker)
        for (cell, name), fault in faults.items():
            publish("farm.faulted", f"{name} on {cell}".removeprefix(" on "), plain(f"by {worker}: {fault.why}"))
            note = {"fault.txt": f"{worker} on {host}: {fault.why}\n".encode()}
            kept = {(cell, f"{name or 'image'}.try-{len(tries.failed)}"): {**fault.evidence, **note}}
            self._land(TaskResult(worker, host, evidence=kept))
        if not tries.over:
            again = replace(task.only(faults), tries=tries)
            if isinstance(again, Measuring) and (again.home or self._plan.together):
                again = replace(again, home=host)
            return [self._submit(again)]
        for part, fault in faults.items():
            if fault.line:
                self._land(TaskResult(worker, host, _telling(fault.line, tries.told), {part: fault.evidence}))
            else:
                self._unrun.append(NotRun(*part, fault.why + tries.told))
        return []

    def _chunks(self, task: Listing, listed: Listed, future: Future[Any]) -> Iterable[Future[Any]]:
        order = task.order
        if listed.fault:
            return self._again(task, {(order.cell, ""): Fault(listed.fault)}, listed.worker, "")
        if listed.refused:
            self._give_up(task, listed.refused)
            return []
        self._images[order] = future
        names = [
            name
            for name in listed.tests
            if judged_id(order, name) not in self._known
            and any(fnmatchcase(name, pattern) for pattern in self._plan.tests)
        ]
        size = self._plan.chunk
        return [self._submit(Chunk(order, tuple(names[at : at + size]))) for at in range(0, len(names), size)]

    def _submit(self, task: Task) -> Future[Any]:
        key = f"{type(task).__name__.lower()}-{digest_of({'task': repr(task)})[:24]}"
        self._tasks[key] = task
        others = task.tries.others(able(task, workers_of(self._farm))) if task.tries.failed else []
        how: dict[str, Any] = {
            "key": key,
            "resources": dict.fromkeys(task.needs, 1),
            "workers": others or None,
            "priority": -len(task.tries.failed),
        }
        match task:
            case Listing(order):
                return self._farm.submit(list_tests, order, **how)
            case Chunk(order, names):
                return self._farm.submit(run_tests, order, names, self._images[order], **how)
            case Measuring(asked):
                return self._farm.submit(measure, asked, self._plan.duration, **how)

    def _give_up(self, task: Task, why: str) -> None:
        self._unrun += [NotRun(cell, what, why) for cell, what in task.parts]

    def _why_nobody(self, task: Task) -> str:
        return lacking(self._lab, self._lab.cell(task.parts[0][0]), task.needs, workers_of(self._farm))


def workers_of(farm: Client) -> dict[str, frozenset[str]]:
    """The abilities of each worker that is there now, by name."""
    rows = farm.scheduler_info(n_workers=-1)["workers"].values()
    return {str(row["name"]): frozenset(row["resources"]) for row in rows}


def _telling(line: bytes, more: str) -> bytes:
    """A verdict's line with more to its reason."""
    records = records_in(BytesIO(line))
    return b"".join(line_of(replace(one, reason=one.reason + more)) for one in records if isinstance(one, Judged))


@contextmanager
def heard(farm: Client) -> Iterator[None]:
    """Publish here what workers publish there, and who joins and who is lost."""

    def tell(event: tuple[float, dict[str, str]]) -> None:
        _, told = event
        publish(plain(told["kind"]), plain(told["about"]), plain(told["detail"]))

    def note(event: tuple[float, dict[str, str]]) -> None:
        _, told = event
        if told.get("action") in ("add-worker", "remove-worker"):
            kind = "farm.joined" if told["action"] == "add-worker" else "farm.lost"
            publish(kind, plain(told["worker"]))

    farm.subscribe_topic(TOPIC, tell)
    farm.subscribe_topic("all", note)
    try:
        yield
    finally:
        farm.unsubscribe_topic(TOPIC)
        farm.unsubscribe_topic("all")


def plain(text: str) -> str:
    """What a worker tells, as it may be shown: in one line."""
    return one_line(text)[:LONGEST]
