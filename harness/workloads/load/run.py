"""Puts load on a server by generators in separate processes: locust, wrk and redis-benchmark."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

from harness.workloads.load.listen_drops import with_drop_check
from harness.workloads.load.locust_load.driver import run as run_locust
from harness.workloads.load.redis_benchmark import run as run_redis_benchmark
from harness.workloads.load.result import Generator, Result, Second
from harness.workloads.load.scenario import Load, load_from
from harness.workloads.load.wrk import run as run_wrk

__all__ = ["Generator", "Load", "Result", "Second", "load_from", "run"]


def run(
    load: Load,
    host: str,
    port: int,
    *,
    command_prefix: Sequence[str] = (),
    duration: float | None = None,
    seed: int = 0,
    on_second: Callable[[Second], None] | None = None,
    stop: threading.Event | None = None,
) -> Result:
    """Put the load on a server, in this thread, and return the result.

    `command_prefix` enters the network from which the server is reached. `duration` (seconds) replaces the load's
    own. `seed` decides the order of the requests. `on_second` is called soon after each second, for tools that
    report seconds. When `stop` is set, the result covers the time until then. A generator that can't start, or
    that dies, gives a result with `error`. The generators' processes die with this thread, whatever kills it, and
    listen on nothing.
    """
    if duration is not None:
        load = replace(load, duration=duration)
    report, stopped = on_second or (lambda _: None), stop or threading.Event()
    if load.tool == "redis-benchmark":  # checks drops itself: it runs more than once, and the last run counts
        return run_redis_benchmark(load, host, port, seed, report, stopped, command_prefix)
    run_with = {"locust": run_locust, "wrk": run_wrk}[load.tool]
    return with_drop_check(
        lambda: run_with(load, host, port, seed, report, stopped, command_prefix), port, command_prefix
    )
