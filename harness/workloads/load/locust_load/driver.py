"""Runs locust headless: one process per cpu, each with its part of the users and of the schedule, without a
master.

Locust's own statistics are not used: they round to milliseconds, and don't know when a request was due. Its
processes keep histograms of microseconds and report them every second.
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
from harness.host.in_lab import lab_timeout
from harness.host.process.supervised import SupervisedProcess
from harness.workloads.load.cpu_use import Use, Watch
from harness.workloads.load.histogram import decoded, empty, encoded, percentile
from harness.workloads.load.result import Generator, Result, Second
from harness.workloads.load.scenario import Load

if TYPE_CHECKING:
    from hdrh.histogram import HdrHistogram

REQUEST_TIMEOUT = 10.0
"""Seconds after which a request counts as a timeout; also the time that answers have at the end."""

READY_SECONDS = 60.0
"""Seconds that locust's processes have to start and connect."""

KINDS = 50
"""How many kinds of failure are counted separately."""

OnSecond = Callable[[Second], None]

LOCUSTFILE = Path(__file__).with_name("locustfile.py")


class _ProcessEnded(Exception):
    """A process of locust's ended, or sent nothing, before it was done; with its output."""


class _Process:
    """One of locust's processes and the socket to it."""

    def __init__(self, stack: ExitStack, arguments: list[str], command_prefix: Sequence[str]) -> None:
        self.socket, child_end = socket.socketpair()
        stack.callback(self.socket.close)
        with child_end:
            environment = {key: value for key, value in os.environ.items() if not key.startswith("LOCUST_")}
            environment["OSV_HARNESS_LOAD"] = str(child_end.fileno())
            # HOME without a .locust.conf; PYTHONPATH for our modules if they are not installed.
            environment["HOME"] = "/nonexistent"
            environment["PYTHONPATH"] = str(Path(harness.__file__).parents[1])
            command = [*command_prefix, sys.executable, "-P", "-m", "locust", "-f", str(LOCUSTFILE), "--headless"]
            self.process = stack.enter_context(
                SupervisedProcess(
                    "locust", [*command, *arguments], stdout=DEVNULL, fds=[child_end.fileno()],
                    environment=environment, cwd=LOCUSTFILE.parent,
                )
            )  # fmt: skip
        self._rest = b""
        self.done = False

    def send(self, row: Any) -> None:
        """Send one line. Raises `_ProcessEnded` if the process is gone."""
        try:
            self.socket.sendall(json.dumps(row).encode() + b"\n")
        except BrokenPipeError as gone:
            raise _ProcessEnded(self.process.last_words(1.0)) from gone

    def lines(self) -> list[dict[str, Any]] | None:
        """The complete lines received, or None at the end of the stream."""
        try:
            received = self.socket.recv(1 << 20)
        except ConnectionResetError:  # It ended before it read everything.
            return None
        *whole, self._rest = (self._rest + received).split(b"\n")
        return [json.loads(line) for line in whole] if received else None


class _Totals:
    """The seconds of all processes, added up."""

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
        """Add one process's figures of a second; when all have reported it, it is published."""
        parts = self._parts.setdefault(line["second"], [])
        parts.append(line)
        if len(parts) == self._processes:
            self._show(line["second"])

    def finish(self) -> None:
        """Publish the seconds that not all processes reported."""
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
        for kind, count in failures.items():  # kinds may quote a server, each time differently
            self.failures[kind if kind in self.failures or len(self.failures) < KINDS else "other"] += count
        self.requests += requests
        second = Second(requests, failures.total(), percentile(latency, 50), percentile(latency, 99))
        self.seconds.append(second)
        self._on_second(second)


def run(
    load: Load, host: str, port: int, seed: int, on_second: OnSecond, stop: threading.Event,
    command_prefix: Sequence[str] = (),
) -> Result:  # fmt: skip
    """Run the load by locust; see `harness.workloads.load.run.run`."""
    count = min(len(os.sched_getaffinity(0)), load.users)
    tally, watch, started = _Totals(count, on_second), Watch(), time()
    error = ""
    with ExitStack() as stack:
        try:
            shares = [load.users // count + (number < load.users % count) for number in range(count)]
            processes = [
                _Process(
                    stack,
                    ["-u", f"{users}", "-r", f"{users}", "--only-summary", "--loglevel", "ERROR"],
                    command_prefix,
                )
                for users in shares
            ]
            for number, (process, users) in enumerate(zip(processes, shares, strict=True)):
                process.send(_task(load, host, port, seed, users, number, count))
            if _wait_until_ready(processes, stop):
                started = time()
                _drive(processes, load, tally, watch, stop)
        except HostError as failed:
            error = failed.message
        except _ProcessEnded as ended:
            error = str(ended)
    tally.finish()
    mode = "constant rate" if load.rate else "closed loop"
    return Result(
        "locust", load.name, mode, started, tally.length, tally.requests, dict(tally.failures),
        tuple(tally.seconds), encoded(tally.latency), tally.bytes,
        _generator_report(watch.use(), tally.latency, tally.lag), error,
    )  # fmt: skip


def _task(load: Load, host: str, port: int, seed: int, users: int, process: int, processes: int) -> dict[str, Any]:
    """The fields of `schedule.Task`; that can't be imported here, because locust patches the process it is
    imported in."""
    return {
        "protocol": load.user, "host": host, "port": port, "requests": load.requests, "users": users,
        "rate": load.rate, "duration": load.duration, "seed": seed, "process": process, "processes": processes,
        "timeout": REQUEST_TIMEOUT,
    }  # fmt: skip


def _wait_until_ready(processes: list[_Process], stop: threading.Event) -> bool:
    """Wait until all are ready; false if the load was stopped before."""
    waiting = len(processes)
    for message in _lines(processes, READY_SECONDS):
        waiting -= message is not None
        if not waiting or stop.is_set():
            break
    return not stop.is_set()


def _drive(processes: list[_Process], load: Load, tally: _Totals, watch: Watch, stop: threading.Event) -> None:
    """Run from the common start of all processes to the last message of the last one."""
    start = monotonic_ns() + 10_000_000
    for process in processes:
        process.send({"start": start})
    stop_sent = False
    for message in _lines(processes, load.duration + REQUEST_TIMEOUT + READY_SECONDS):
        watch.look([process.process.pid for process in processes])
        if stop.is_set() and not stop_sent:
            stop_sent = True
            for process in processes:
                with suppress(_ProcessEnded):  # if it was not done, the next lines say so
                    process.send({"stop": True})
        if message is None:
            continue
        process, line = message
        if "done" not in line:
            tally.add(line)
            continue
        process.done = True
        tally.length = max(tally.length, line["done"])
        if all(process.done for process in processes):
            return


def _lines(processes: list[_Process], limit: float) -> Iterator[tuple[_Process, dict[str, Any]] | None]:
    """Each line of each process, and None several times a second. Raises `_ProcessEnded` after `limit` seconds
    (more in a lab), or when a process ends before it reported that it is done."""
    limit = lab_timeout(limit)
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
                        raise _ProcessEnded(process.process.last_words(1.0))
                    selector.unregister(key.fileobj)
                for line in lines or ():
                    yield process, line
            yield None
    raise _ProcessEnded(f"locust said nothing more for {limit:.0f} s")


def _generator_report(use: Use, latency: "HdrHistogram", lag: "HdrHistogram") -> Generator:
    """Whether the generator limited the result."""
    late = percentile(lag, 99) if lag.get_total_count() else 0.0
    why = use.limit
    if not why and late > percentile(latency, 99) / 2:
        why = f"the generator asked {late:.0f} µs late (p99), more than half of the latency's own p99"
    return Generator(use.ran, late, bool(why), why)
