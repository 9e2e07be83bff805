"""The file for `locust -f` in each process: reads its task from the harness's socket and creates the users.

The socket's descriptor is in OSV_HARNESS_LOAD. JSON lines go both ways: receives the task, sends `{"ready":
true}`, receives `{"start": monotonic ns}`, sends seconds, sends `{"done": seconds}`. Any line received after the
start means: stop now.
"""

import json
import os
import socket
from time import monotonic_ns
from typing import Any, ClassVar

import gevent
from gevent.event import Event
from gevent.queue import SimpleQueue
from locust import events
from locust.env import Environment

from harness.workloads.load.locust_load.clients.registry import client_of
from harness.workloads.load.locust_load.recorder import Recorder
from harness.workloads.load.locust_load.schedule import Schedule, Task
from harness.workloads.load.locust_load.user import LoadUser

_socket = socket.socket(fileno=int(os.environ["OSV_HARNESS_LOAD"]))
_lines = _socket.makefile("rb")
_task = Task(**json.loads(_lines.readline()))
_outbox: SimpleQueue[bytes] = SimpleQueue()
_schedule, _recorder, _start_event = Schedule(_task), Recorder(_outbox.put), Event()


class User(LoadUser):
    """The only user class of this process."""

    client_class, schedule, recorder, start_event = client_of(_task.protocol), _schedule, _recorder, _start_event
    ready: ClassVar[list[LoadUser]] = []


@events.init.add_listener  # type: ignore[untyped-decorator]
def _on_init(environment: Environment, **_: Any) -> None:
    gevent.spawn(_send_lines)
    gevent.spawn(_run, environment)


def _send_lines() -> None:
    """Send complete lines one after another, whichever greenlet wrote them."""
    while True:
        _socket.sendall(_outbox.get())


def _run(environment: Environment) -> None:
    """Run the load, from the moment when all users are ready to the last message."""
    assert environment.runner is not None
    while len(User.ready) < _task.users:
        gevent.sleep(0.01)
    _outbox.put(b'{"ready": true}\n')
    began = json.loads(_lines.readline())["start"]
    _schedule.begin(began)
    _recorder.begin(began, _schedule.ends)
    gevent.sleep((began - monotonic_ns()) / 1e9)
    _start_event.set()
    clock = gevent.spawn(_close_seconds)
    stopped = gevent.spawn(_lines.readline)
    finished = gevent.spawn(gevent.joinall, [user.greenlet for user in User.ready])
    left = (_schedule.ends - monotonic_ns()) / 1e9 + _task.timeout
    gevent.wait([stopped, finished], timeout=left, count=1)
    clock.kill()
    gevent.killall([user.greenlet for user in User.ready])
    if not stopped.ready():
        _count_unanswered()
    _recorder.finish(monotonic_ns())
    environment.runner.quit()


def _count_unanswered() -> None:
    """Count requests that were not answered in time, or never sent because no user was free."""
    unanswered = sum(user.waiting for user in User.ready)
    while _schedule.next_request():
        unanswered += 1
    if unanswered:
        _recorder.failed(monotonic_ns(), "timeout", unanswered)


def _close_seconds() -> None:
    """Close each second soon after its end, also if nothing else happens."""
    while True:
        gevent.sleep(0.05)
        _recorder.close(monotonic_ns())
