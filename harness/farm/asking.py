"""Turns orders into tasks, has the farm run them, and says of each what came of it or why nothing did."""

from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from distributed import Client, Future, KilledWorker, as_completed
from distributed.scheduler import NoValidWorkerError

from harness.cache import digest_of
from harness.console.transcript import printable
from harness.events import publish
from harness.farm import Answer, Listed, Named, Order, judged_id, measured_id
from harness.farm.abilities import lacking
from harness.farm.work import TOPIC, list_tests, measure, run_tests
from harness.lab import Lab

LONGEST = 300
"""Characters of what a worker tells."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is wanted of every cell: its tests that match a pattern, `chunk` of them a task; measurements, of all
    cells on one worker if `together`, with loads of `duration` seconds."""

    tests: tuple[str, ...] = ("*",)
    chunk: int = 20
    measurements: tuple[str, ...] = ()
    together: bool = False
    duration: float = 5.0


@dataclass(frozen=True, slots=True)
class Unrun:
    """What was asked for and not run (`what` is a test, a measurement, or nothing for the cell), and why."""

    cell: str
    what: str
    why: str


@dataclass(frozen=True, slots=True)
class _Listing:
    order: Order


@dataclass(frozen=True, slots=True)
class _Chunk:
    order: Order
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Measuring:
    asked: tuple[tuple[Order, str], ...]
    home: str


_Task = _Listing | _Chunk | _Measuring


class Asker:
    """One run on a farm. `land` is given each answer; `known` are the ids of records that need no run."""

    def __init__(
        self, farm: Client, lab: Lab, plan: Plan, known: Set[str], land: Callable[[Answer], None]
    ) -> None:
        self._farm = farm
        self._lab = lab
        self._plan = plan
        self._known = known
        self._land = land
        self._tasks: dict[str, _Task] = {}
        self._images: dict[Order, Future[Any]] = {}
        self._unrun: list[Unrun] = []
        self._over = 0

    def ask(self, orders: Sequence[Order], homes: Callable[[Order], str]) -> list[Unrun]:
        """Have all of it run; returns what was not. `homes` names the host that measured an order's cell last."""
        first = [self._submit(_Listing(order)) for order in orders] if self._plan.tests else []
        first += [self._submit(task) for task in self._measurings(orders, homes)]
        waiting = as_completed(first)
        with _heard(self._farm):
            for future in waiting:
                task = self._tasks[future.key]
                waiting.update(self._take(task, future))
                self._over += 1
                self._show()
        return self._unrun

    def _measurings(self, orders: Sequence[Order], homes: Callable[[Order], str]) -> Iterator[_Measuring]:
        wanted = [
            tuple(
                (order, name) for name in self._plan.measurements if measured_id(order, name, 0) not in self._known
            )
            for order in orders
        ]
        groups = [tuple(pair for group in wanted for pair in group)] if self._plan.together else wanted
        hosts = {ability for abilities in self._workers().values() for ability in abilities}
        for group in filter(None, groups):
            home = f"host-{homes(group[0][0])}"
            yield _Measuring(group, home if home in hosts else "")

    def _take(self, task: _Task, future: Future[Any]) -> Iterable[Future[Any]]:
        """What follows from a task that is over."""
        try:
            result = future.result()
        except NoValidWorkerError:
            if isinstance(task, _Measuring) and task.home:
                publish("farm.moved", task.asked[0][0].cell, f"{task.home} is gone: measured elsewhere")
                return [self._submit(_Measuring(task.asked, ""))]
            self._give_up(task, self._why_nobody(task))
        except KilledWorker as error:
            self._give_up(task, f"{error.allowed_failures + 1} workers ended while they had it")
        except CancelledError:
            self._give_up(task, "the farm's scheduler ended, or dropped it")
        except Exception as error:  # of the task's code or of dask's, on the worker: told like a refusal
            self._give_up(task, _plain(f"{type(error).__name__}: {error}"))
        else:
            if isinstance(task, _Listing):
                return self._chunks(task.order, result, future)
            self._land(result)
            self._unrun += [Unrun(cell, name, why) for (cell, name), why in result.refused.items()]
        return []

    def _chunks(self, order: Order, listed: Listed, future: Future[Any]) -> list[Future[Any]]:
        if listed.refused:
            self._unrun.append(Unrun(order.cell, "", listed.refused))
            return []
        self._images[order] = future
        names = [
            name
            for name in listed.tests
            if judged_id(order, name) not in self._known
            and any(fnmatchcase(name, pattern) for pattern in self._plan.tests)
        ]
        size = self._plan.chunk
        return [self._submit(_Chunk(order, tuple(names[at : at + size]))) for at in range(0, len(names), size)]

    def _submit(self, task: _Task) -> Future[Any]:
        key = f"{type(task).__name__.strip('_').lower()}-{digest_of({'task': repr(task)})[:24]}"
        self._tasks[key] = task
        resources = dict.fromkeys(_needs(task), 1)
        match task:
            case _Listing(order):
                return self._farm.submit(list_tests, order, key=key, resources=resources)
            case _Chunk(order, names):
                image = self._images[order]
                return self._farm.submit(run_tests, order, names, image, key=key, resources=resources)
            case _Measuring(asked):
                return self._farm.submit(measure, asked, self._plan.duration, key=key, resources=resources)

    def _give_up(self, task: _Task, why: str) -> None:
        self._unrun += [Unrun(cell, what, why) for cell, what in _parts(task)]

    def _why_nobody(self, task: _Task) -> str:
        cell = self._lab.cell(_parts(task)[0][0])
        return lacking(self._lab, cell, frozenset(_needs(task)), self._workers())

    def _workers(self) -> dict[str, frozenset[str]]:
        """The abilities of each worker that is there now, by name."""
        rows = self._farm.scheduler_info(n_workers=-1)["workers"].values()
        return {str(row["name"]): frozenset(row["resources"]) for row in rows}

    def _show(self) -> None:
        publish("farm.progress", f"{self._over} of {len(self._tasks)} tasks over")


def _needs(task: _Task) -> set[str]:
    if isinstance(task, _Measuring):
        home = {task.home} if task.home else set()
        return home.union(*(order.needs for order, _ in task.asked))
    return set(task.order.needs)


def _parts(task: _Task) -> list[Named]:
    match task:
        case _Listing(order):
            return [(order.cell, "")]
        case _Chunk(order, names):
            return [(order.cell, name) for name in names]
        case _Measuring(asked):
            return [(order.cell, name) for order, name in asked]


@contextmanager
def _heard(farm: Client) -> Iterator[None]:
    """Publish here what workers publish there, and who joins and who is lost."""

    def tell(event: tuple[float, dict[str, str]]) -> None:
        _, told = event
        publish(_plain(told["kind"]), _plain(told["about"]), _plain(told["detail"]))

    def note(event: tuple[float, dict[str, str]]) -> None:
        _, told = event
        if told.get("action") in ("add-worker", "remove-worker"):
            kind = "farm.joined" if told["action"] == "add-worker" else "farm.lost"
            publish(kind, _plain(told["worker"]))

    farm.subscribe_topic(TOPIC, tell)
    farm.subscribe_topic("all", note)
    try:
        yield
    finally:
        farm.unsubscribe_topic(TOPIC)
        farm.unsubscribe_topic("all")


def _plain(text: str) -> str:
    return printable(text.encode("utf-8", "backslashreplace"))[:LONGEST]
