"""Calls a function on a worker that can run it and waits; retries elsewhere if a host is at fault."""

import os
from collections.abc import Callable, Collection
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any, TypeVar

from distributed import Client, Future, KilledWorker, get_worker
from distributed.scheduler import NoValidWorkerError

from harness.core.errors import HarnessError, HostError
from harness.core.events import publish
from harness.host.cache import Cache
from harness.integrations.farm.dispatcher import plain, worker_capabilities
from harness.integrations.farm.tasks import TRIES
from harness.integrations.farm.worker import HOST_FAULTS, publishing_events

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class WorkerLocation:
    """A worker, its host, and the folder of its cache there."""

    worker: str
    host: str
    cache: str


@dataclass(frozen=True, slots=True)
class Failure:
    """An error of a worker's host."""

    location: WorkerLocation
    error: HarnessError


class NoWorkerError(HostError):
    """No worker is left that can do it."""


def this_location() -> WorkerLocation:
    """The location of the worker that calls this."""
    return WorkerLocation(str(get_worker().name), os.uname().nodename, str(Cache().root.resolve()))


def attempt(function: Callable[..., T], *arguments: object) -> T | Failure:
    """Call a function on a worker. Errors of its host are returned, all others raised."""
    with publishing_events():
        try:
            return function(*arguments)
        except HOST_FAULTS as error:
            return Failure(this_location(), error)


class RemoteCaller:
    """Calls functions on workers of a farm that have all of `requirements`. `cure` goes into the errors that it
    raises."""

    def __init__(self, client: Client, requirements: Collection[str], cure: str = "") -> None:
        self._client, self._required, self._cure = client, frozenset(requirements), cure

    def call(
        self,
        function: Callable[..., T],
        *arguments: object,
        extra: Collection[str] = (),
        workers: Collection[str] = (),
    ) -> T:
        """Call the function on a worker that also has the `extra` capabilities, first on one of `workers` if any
        are named.

        Raises what the function raises; the host's error if every try failed with one; `NoWorkerError` if no
        worker can do it; `HostError` if the farm itself fails.
        """
        failed: list[str] = []
        while True:
            others = [name for name in self._capable(extra) if name not in failed] if failed else workers
            try:
                result = self._wait(self.submit(attempt, function, *arguments, extra=extra, workers=others))
            except NoWorkerError:
                if not others:
                    raise
                publish("farm.moved", ", ".join(others), "is gone: done elsewhere")
                result = self._wait(self.submit(attempt, function, *arguments, extra=extra))
            if not isinstance(result, Failure):
                answer: T = result
                return answer
            failed.append(result.location.worker)
            publish("farm.faulted", result.location.worker, plain(str(result.error)))
            if len(failed) >= TRIES:
                raise result.error

    def submit(
        self, task: Callable[..., object], *arguments: object, extra: Collection[str] = (),
        workers: Collection[str] = (),
    ) -> Future[Any]:  # fmt: skip
        """Submit a task, to one of `workers` if any are named."""
        return self._client.submit(
            task, *arguments, resources=dict.fromkeys(self._required.union(extra), 1),
            workers=list(workers) or None, pure=False,
        )  # fmt: skip

    def _wait(self, future: Future[Any]) -> Any:
        try:
            return future.result()
        except NoValidWorkerError as error:
            raise NoWorkerError("The farm no longer has a worker that can do this.", self._cure) from error
        except KilledWorker as error:
            many = error.allowed_failures + 1
            raise HostError(f"{many} workers ended while they had this before them.", self._cure) from error
        except CancelledError as error:
            raise HostError("The farm's scheduler ended.", self._cure) from error

    def _capable(self, extra: Collection[str]) -> list[str]:
        required = self._required.union(extra)
        return [
            name for name, capabilities in worker_capabilities(self._client).items() if required <= capabilities
        ]
