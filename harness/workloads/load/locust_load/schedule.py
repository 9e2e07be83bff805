"""The schedule: when each request is due and which row it is. Each of locust's processes takes its part."""

import ctypes
import os
import random
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic_ns
from typing import Any

from gevent import get_hub


@dataclass(frozen=True, slots=True)
class Task:
    """The part of a load for one process, as `harness.workloads.load.locust_load.driver` sends it.

    `users` are this process's; `rate` (requests/s) and `requests` are the whole load's. `process` is its number
    among `processes`. `timeout` is in seconds, for one request.
    """

    protocol: str
    host: str
    port: int
    requests: tuple[Mapping[str, Any], ...]
    users: int
    rate: float
    duration: float
    seed: int
    process: int
    processes: int
    timeout: float


@dataclass(frozen=True, slots=True)
class ScheduledRequest:
    """One request: its number in the whole load, its row, and when it is due (monotonic ns; 0: at once)."""

    number: int
    row: int
    due: int


class Schedule:
    """The requests of one process, which its users take one after another.

    At a constant rate request i is due i / rate seconds after the start, whatever the server does. A request that
    no user was free to send in time is sent late, and the wait is part of its latency.
    """

    TABLE = 1 << 14
    """Rows are drawn from a shuffled table of this size, built once: drawing costs more than a lookup."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.began = 0
        self.ends = 0
        self._next = task.process
        weights = [row.get("weight", 1) for row in task.requests]
        self._rows = random.Random(task.seed).choices(range(len(weights)), weights, k=self.TABLE)

    def begin(self, at: int) -> None:
        """Set the time at which the first request is due (monotonic ns)."""
        self.began = at
        self.ends = at + int(self.task.duration * 1e9)

    def next_request(self) -> ScheduledRequest | None:
        """The next request, or None when the load is over."""
        due = self.began + int(self._next * 1e9 / self.task.rate) if self.task.rate else 0
        if (due or monotonic_ns()) >= self.ends:
            return None
        number, self._next = self._next, self._next + self.task.processes
        return ScheduledRequest(number, self._rows[number % self.TABLE], due)


class Timer:
    """Wakes a greenlet at a given time, within tens of microseconds; gevent's own timers are up to 1 ms late.

    Source: Linux, timerfd_create(2); Python has it from 3.13 on only.
    """

    _libc = ctypes.CDLL(None, use_errno=True)
    _MONOTONIC, _ABSOLUTE = 1, 1

    def __init__(self) -> None:
        self._fd = self._libc.timerfd_create(self._MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create failed")
        self._hub = get_hub()
        self._ready = self._hub.loop.io(self._fd, 1)

    def wait(self, due: int) -> None:
        """Sleep until `due` (monotonic ns)."""
        # struct itimerspec: no interval, then the time.
        when = (ctypes.c_long * 4)(0, 0, *divmod(due, 10**9))
        self._libc.timerfd_settime(self._fd, self._ABSOLUTE, when, None)
        self._hub.wait(self._ready)
        os.read(self._fd, 8)
