"""Locust, headless: one process a cpu, each with its part of the users and of the schedule, no master among them.

Locust's own statistics are not used: they round to milliseconds, and know nothing of when a request was meant to
start. Its processes keep histograms of microseconds and tell of them second by second.
"""

import json
import os
import selectors
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from subprocess import DEVNULL
from time import monotonic, monotonic_ns, time
from typing import TYPE_CHECKING, Any

import harness
from harness.core.errors import HostError
from harness.host.in_lab import stretched
from harness.host.process.supervised import SupervisedProcess
from harness.workloads.load.cpu_use import Use, Watch
from harness.workloads.load.histogram import decoded, empty, encoded, percentile
from harness.workloads.load.result import Generator, Result, Second
from harness.workloads.load.scenario import Load

if TYPE_CHECKING:
    from hdrh.histogram import HdrHistogram

PATIENCE = 10.0
"""Seconds that a request may take before it counts as a timeout; as long is waited for answers at the end."""

READY = 60.0
"""Seconds in which locust's processes start and connect."""

KINDS = 50
"""Kinds of failure that are told apart."""

OnSecond = Callable[[Second], None]

LOCUSTFILE = Path(__file__).with_name("locustfile.py")


class _Died(Exception):
    """A process of locust's that ended, or went silent, before it was done; with its words."""


class _Process:
    """One of locust's processes and the socket to it."""

    def __init__(self, stack: ExitStack, arguments: list[str], entering: Sequence[str]) -> None:
        self.socket, theirs = socket.socketpair()
        stack.callback(self.socket.close)
        with theirs:
            environment = {key: value for key, value in os.environ.items() if not key.startswith("LOCUST_")}
            environment["OSV_HARNESS_LOAD"] = str(theirs.fileno())
            # Where there is no .locust.conf, and where our own modules are if they are not installed.
            environment["HOME"] = "/nonexistent"
            environment["PYTHONPATH"] = str(Path(harness.__file__).parents[1])
            command = [*entering, sys.executable, "-P", "-m", "locust", "-f", str(LOCUSTFILE), "--headless"]
            self.process = stack.enter_context(
                SupervisedProcess(
                    "locust", [*command, *arguments], stdout=DEVNULL, fds=[theirs.fileno()],
                    environment=environment, cwd=LOCUSTFILE.parent,
                )
            )  # fmt: skip
        self._rest = b""
        self.done = False

    def send(self, row: Any) -> None:
        """Send one line. Raises `_Died` if the process is gone."""
        try:
            self.socket.sendall(json.dumps(row).encode() + b"\n")
        except BrokenPipeError as gone:
            raise _Died(self.process.last_words(1.0)) from gone

    def lines(self) -> list[dict[str, Any]] | None:
        """The whole lines that have come, or None at the end of all."""
        try:
            came = self.socket.recv(1 << 20)
        except ConnectionResetError:  # It ended before it read all that we sent.
            return None
        *whole, self._rest = (self._rest + came).split(b"\n")
        return [json.loads(line) for line in whole] if came else None


class _Tally:
    """All processes' seconds, put together."""

    def __init__(self, processes: int, on_second: OnSecond) -> None:
        self._processes = processes
        self._on_second = on_second
        self._parts: dict[int, list[dict[str, Any]]] = {}
        self.seconds: list[Second] = []
        self.failures: Counter[str] = Counter()
        self.latency, self.lag = empty(), empty()
        self.requests = self.bytes = 0
        self.length = 0.0

    def add(self, line: dict[str, Any]) -> None:
        """One process's figures of a second; when all have told of it, it is shown."""
        parts = self._parts.setdefault(line["second"], [])
        parts.append(line)
        if len(parts) == self._processes:
            self._show(line["second"])

    def finish(self) -> None:
        """Show the seconds of which not all processes told."""
        for second in sorted(self._parts):
            self._show(second)

    def _show(self, number: int) -> None:
        latency = empty()
        failures: Counter[str] = Counter()
        parts = self._parts.pop(number)
        for part in parts:
            latency.add(decoded(part["latency"]))
            self.lag.add(decoded(part["lag"]))
            failures.update(part["failures"])
            self.bytes += part["bytes"]
        requests = sum(part["requests"] for part in parts)
        self.latency.add(latency)
        for kind, count in failures.items():  # a server's words may be in it, and each time others
            self.failures[kind if kind in self.failures or len(self.failures) < KINDS else "other"] += count
        self.requests += requests
        second = Second(requests, failures.total(), percentile(latency, 50), percentile(latency, 99))
        self.seconds.append(second)
        self._on_second(second)


def run(
    load: Load, host: str, port: int, seed: int, on_second: OnSecond, stop: threading.Event,
    entering: Sequence[str] = (),
) -> Result:  # fmt: skip
    """Run the load by locust; see `harness.workloads.load.run.run`."""
    count = min(len(os.sched_getaffinity(0)), load.users)
    tally, watch, started = _Tally(count, on_second), Watch(), time()
    error = ""
    with ExitStack() as stack:
        try:
            shares = [load.users // count + (number < load.users % count) for number in range(count)]
            processes = [
                _Process(
                    stack, ["-u", f"{users}", "-r", f"{users}", "--only-summary", "--loglevel", "ERROR"], entering
                )
                for users in shares
            ]
            for number, (process, users) in enumerate(zip(processes, shares, strict=True)):
                process.send(_task(load, host, port, seed, users, number, count))
            if _ready(processes, stop):
                started = time()
                _drive(processes, load, tally, watch, stop)
        except HostError as failed:
            error = failed.happened
        except _Died as died:
            error = str(died)
    tally.finish()
    mode = "constant rate" if load.rate else "closed loop"
    return Result(
        "locust", load.name, mode, started, tally.length, tally.requests, dict(tally.failures),
        tuple(tally.seconds), encoded(tally.latency), tally.bytes,
        _judged(watch.use(), tally.latency, tally.lag), error,
    )  # fmt: skip


def _task(load: Load, host: str, port: int, seed: int, users: int, process: int, processes: int) -> dict[str, Any]:
    """What `users.course.Task` is made of; it can't be imported here, for locust patches the process it is in."""
    return {
        "protocol": load.user, "host": host, "port": port, "requests": load.requests, "users": users,
        "rate": load.rate, "duration": load.duration, "seed": seed, "process": process, "processes": processes,
        "patience": PATIENCE,
    }  # fmt: skip


def _ready(processes: list[_Process], stop: threading.Event) -> bool:
    """Wait until all are ready; false if the load was stopped before."""
    waiting = len(processes)
    for heard in _heard(processes, READY):
        waiting -= heard is not None
        if not waiting or stop.is_set():
            break
    return not stop.is_set()


def _drive(processes: list[_Process], load: Load, tally: _Tally, watch: Watch, stop: threading.Event) -> None:
    """From the start, the same for all processes, to the last one's last word."""
    start = monotonic_ns() + 10_000_000
    for process in processes:
        process.send({"start": start})
    told = False
    for heard in _heard(processes, load.duration + PATIENCE + READY):
        watch.look([process.process.pid for process in processes])
        if stop.is_set() and not told:
            told = True
            for process in processes:
                with suppress(_Died):  # If it was not done, that is heard of next.
                    process.send({"stop": True})
        if heard is None:
            continue
        process, line = heard
        if "done" not in line:
            tally.add(line)
            continue
        process.done = True
        tally.length = max(tally.length, line["done"])
        if all(process.done for process in processes):
            return


def _heard(processes: list[_Process], limit: float) -> Iterator[tuple[_Process, dict[str, Any]] | None]:
    """Each line of each process, and None several times a second. Raises `_Died` after `limit` seconds (more in a
    lab), or when a process ends before it said that it is done."""
    limit = stretched(limit)
    until = monotonic() + limit
    with selectors.DefaultSelector() as selector:
        for process in processes:
            selector.register(process.socket, selectors.EVENT_READ, process)
        while monotonic() < until:
            for key, _ in selector.select(0.1):
                process = key.data
                lines = process.lines()
                if lines is None:
                    if not process.done:
                        raise _Died(process.process.last_words(1.0))
                    selector.unregister(key.fileobj)
                for line in lines or ():
                    yield process, line
            yield None
    raise _Died(f"locust said nothing more for {limit:.0f} s")


def _judged(use: Use, latency: "HdrHistogram", lag: "HdrHistogram") -> Generator:
    """Whether the generator was what limited the result."""
    late = percentile(lag, 99) if lag.get_total_count() else 0.0
    why = use.limit
    if not why and late > percentile(latency, 99) / 2:
        why = f"the generator asked {late:.0f} µs late (p99), more than half of the latency's own p99"
    return Generator(use.ran, late, bool(why), why)
