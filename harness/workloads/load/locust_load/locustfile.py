"""What `locust -f` loads in each process: reads its task from the harness's socket and makes the users of it.

The socket's descriptor is in OSV_HARNESS_LOAD. Lines of JSON go both ways: a task comes, `{"ready": true}` goes,
`{"start": monotonic ns}` comes, seconds go, `{"done": seconds}` goes. Any line after the start means: stop now.
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
_told: SimpleQueue[bytes] = SimpleQueue()
_course, _recorder, _go = Schedule(_task), Recorder(_told.put), Event()


class User(LoadUser):
    """The one user that this process has."""

    speaks, course, recorder, go = client_of(_task.protocol), _course, _recorder, _go
    ready: ClassVar[list[LoadUser]] = []


@events.init.add_listener  # type: ignore[untyped-decorator]
def _found(environment: Environment, **_: Any) -> None:
    gevent.spawn(_tell)
    gevent.spawn(_lead, environment)


def _tell() -> None:
    """Send line after line, whole ones, whoever wrote them."""
    while True:
        _socket.sendall(_told.get())


def _lead(environment: Environment) -> None:
    """From all users' being ready to the last word."""
    assert environment.runner is not None
    while len(User.ready) < _task.users:
        gevent.sleep(0.01)
    _told.put(b'{"ready": true}\n')
    began = json.loads(_lines.readline())["start"]
    _course.begin(began)
    _recorder.begin(began, _course.ends)
    gevent.sleep((began - monotonic_ns()) / 1e9)
    _go.set()
    clock = gevent.spawn(_tell_empty_seconds)
    stopped = gevent.spawn(_lines.readline)
    asked = gevent.spawn(gevent.joinall, [user.greenlet for user in User.ready])
    left = (_course.ends - monotonic_ns()) / 1e9 + _task.patience
    gevent.wait([stopped, asked], timeout=left, count=1)
    clock.kill()
    gevent.killall([user.greenlet for user in User.ready])
    if not stopped.ready():
        _give_up()
    _recorder.finish(monotonic_ns())
    environment.runner.quit()


def _give_up() -> None:
    """Count what was not answered in time, also what was never asked since no user was free."""
    unanswered = sum(user.asking for user in User.ready)
    while _course.turn():
        unanswered += 1
    if unanswered:
        _recorder.failed(monotonic_ns(), "timeout", unanswered)


def _tell_empty_seconds() -> None:
    """Close each second soon after its end, also if nothing else happens."""
    while True:
        gevent.sleep(0.05)
        _recorder.close(monotonic_ns())
