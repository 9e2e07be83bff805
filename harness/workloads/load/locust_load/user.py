"""A locust user that sends the scheduled requests, checks the answers and records them."""

import json
from collections.abc import Mapping
from time import monotonic_ns
from typing import Any, ClassVar

import gevent
from gevent.event import Event
from locust import User, task
from locust.exception import StopUser

from harness.workloads.load.locust_load.clients.base import Client, WrongAnswer
from harness.workloads.load.locust_load.recorder import Recorder
from harness.workloads.load.locust_load.schedule import Schedule, ScheduledRequest, Timer

FAILURE_PAUSE = 0.05
"""Seconds that a user of a closed loop waits after a failure: a dead server refuses without end."""

KINDS = {
    TimeoutError: "timeout",
    ConnectionRefusedError: "refused",
    ConnectionResetError: "connection reset",
    BrokenPipeError: "connection reset",
    ConnectionAbortedError: "connection reset",
}
"""Errors of sockets, and our names for them."""


class LoadUser(User):
    """A user of any protocol, through its client."""

    abstract = True
    client_class: ClassVar[type[Client]]
    schedule: ClassVar[Schedule]
    recorder: ClassVar[Recorder]
    start_event: ClassVar[Event]
    ready: ClassVar[list["LoadUser"]]

    def on_start(self) -> None:
        """Prepare and connect. What fails here is tried again by the first request, and counted there."""
        self.waiting = False
        self._timer = Timer()
        self._client = self.client_class(self.schedule.task)
        self._rows = self.schedule.task.requests
        self._has_number = ["{n}" in json.dumps(row) for row in self._rows]
        self._requests = [self._client.prepare(row) for row in self._rows]
        try:
            self._client.connect()
        except Exception:
            self._client.disconnect()
        self.ready.append(self)

    @task
    def work(self) -> None:
        """Send requests until the load is over."""
        self.start_event.wait()
        while (scheduled := self.schedule.next_request()) is not None:
            began = monotonic_ns()
            if scheduled.due > began:
                self._timer.wait(scheduled.due)
                self.recorder.record_lag((monotonic_ns() - scheduled.due) // 1000)
            began = scheduled.due or began
            if monotonic_ns() - began > self.schedule.task.timeout * 1e9:
                self.recorder.failed(monotonic_ns(), "timeout")
                continue
            self._ask(scheduled, began)
        raise StopUser

    def _ask(self, scheduled: ScheduledRequest, began: int) -> None:
        request = self._requests[scheduled.row]
        self.waiting = True
        try:
            if self._has_number[scheduled.row]:
                request = self._client.prepare(with_number(self._rows[scheduled.row], scheduled.number))
            size = request()
        except WrongAnswer as wrong:
            self.recorder.failed(monotonic_ns(), str(wrong))
        except Exception as error:
            self.recorder.failed(monotonic_ns(), kind_of(error))
            self._client.disconnect()
            if not scheduled.due:
                gevent.sleep(FAILURE_PAUSE)
        else:
            self.recorder.succeeded(monotonic_ns(), began, size)
        self.waiting = False


def with_number(value: Any, number: int) -> Any:
    """A row, or a part of one, with the request's number in place of `{n}`."""
    if isinstance(value, str):
        return value.replace("{n}", str(number))
    if isinstance(value, Mapping):
        return {key: with_number(part, number) for key, part in value.items()}
    if isinstance(value, list):
        return [with_number(part, number) for part in value]
    return value


def kind_of(error: BaseException) -> str:
    """The kind of failure that a client's exception means.

    Clients wrap the socket's errors in their own, so the whole chain is searched.
    """
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        link = link.__cause__ or link.__context__
    for type_, kind in KINDS.items():
        if any(isinstance(link, type_) for link in chain):
            return kind
    text = f"{type(error).__name__}: {error}"
    closed = ("clos", "lost connection", "incomplete")
    if isinstance(error, EOFError) or any(word in text.lower() for word in closed):
        return "connection closed"
    return text[:120]
