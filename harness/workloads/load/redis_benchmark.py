"""Runs redis-benchmark: the highest throughput of Redis's protocol, in a closed loop, in one thread.

It takes one row with a `command`, sent repeatedly and unchanged. Answers are not checked except for errors, which
end it without figures. It counts requests, not seconds, so a short trial finds how many fill the duration.

Latencies are rebuilt from the distribution that it prints: exact to the microsecond at each halving of what is
left (50 %, 75 %, 87.5 %, …), else in steps of 0.1 ms up to 2 ms and of 1 ms above. There are no bytes and no
figures by second.
"""

import re
import threading
from collections.abc import Callable, Sequence
from itertools import pairwise
from time import monotonic, time
from typing import TYPE_CHECKING

from harness.core.errors import HostError
from harness.host.process.supervised import SupervisedProcess
from harness.workloads.load.cpu_use import Watch
from harness.workloads.load.histogram import empty, encoded, record
from harness.workloads.load.listen_drops import with_drop_check
from harness.workloads.load.result import Generator, Result, Second
from harness.workloads.load.scenario import Load

if TYPE_CHECKING:
    from hdrh.histogram import HdrHistogram

TRIAL_SECONDS = 0.2
"""A trial must last at least so long for its rate to be used."""

UNANSWERED_SECONDS = 10.0
"""Seconds beyond twice the duration after which unanswered requests count as timeouts."""

FAILURES = {
    "Connection refused": "refused",
    "Connection reset": "connection reset",
    "Server closed the connection": "connection closed",
    "Error from server": "error answer",
}
"""Its messages for the server's failures, and our names. It exits with them; only if it is refused it loops for
ever."""


def run(
    load: Load, host: str, port: int, seed: int, on_second: Callable[[Second], None], stop: threading.Event,
    command_prefix: Sequence[str] = (),
) -> Result:  # fmt: skip
    """Run the load by redis-benchmark; see `harness.workloads.load.run.run`. `on_second` is never called, `seed`
    is not used."""
    command = [*command_prefix, "redis-benchmark", "-h", host, "-p", f"{port}", "-c", f"{load.users}"]
    command += ["--precision", "3", "-e"]  # without -e some versions report no error answers
    command_words = [str(word) for word in load.requests[0]["command"]]
    count = load.users * 100

    def once(number: int) -> Result:
        return with_drop_check(
            lambda: _once(load, [*command, "-n", f"{number}", *command_words], stop), port, command_prefix
        )

    while True:
        result = once(count)
        if not result.requests or stop.is_set() or result.seconds >= load.duration / 2:
            return result
        if result.seconds >= TRIAL_SECONDS:
            count = int(result.throughput * load.duration)
            return once(count)
        count = int(count * min(10.0, 1.5 * TRIAL_SECONDS / max(result.seconds, 0.01)))


def _once(load: Load, command: Sequence[str], stop: threading.Event) -> Result:
    watch, started = Watch(), time()
    try:
        with SupervisedProcess("redis-benchmark", command) as process:
            status = _wait(process, watch, 2 * load.duration + UNANSWERED_SECONDS, stop)
            output = process.output()
            exit_text = process.last_words()
    except HostError as failed:
        return Result("redis-benchmark", load.name, "closed loop", started, error=failed.message)
    histogram = _histogram(output)
    completed = re.search(r"(\d+) requests completed in ([\d.]+) seconds", output)
    if completed is None:
        failures = {kind: 1 for text, kind in FAILURES.items() if text in output}
        if status is None and not failures and not stop.is_set():
            failures = {"timeout": load.users}
        error = "" if failures or stop.is_set() else exit_text
        return Result("redis-benchmark", load.name, "closed loop", started, failures=failures, error=error)
    use = watch.use()
    # Its seconds are rounded to 10 ms; its throughput is not rounded.
    requests, throughput = int(completed[1]), re.search(r"throughput summary: ([\d.]+)", output)
    seconds = requests / float(throughput[1]) if throughput else float(completed[2])
    return Result(
        "redis-benchmark", load.name, "closed loop", started, seconds, requests, histogram=encoded(histogram),
        generator=Generator(use.ran, 0.0, bool(use.limit), use.limit),
    )  # fmt: skip


def _wait(process: SupervisedProcess, watch: Watch, limit: float, stop: threading.Event) -> int | None:
    """Its exit status, or None if it was stopped, refused or too late."""
    ends = monotonic() + limit
    while (status := process.wait(0.1)) is None:
        watch.look([process.pid])
        if stop.is_set() or monotonic() > ends or "Connection refused" in process.output():
            return None
    return status


def _histogram(output: str) -> "HdrHistogram":
    """The counts between the points that it prints, each recorded at the upper point."""
    found = re.findall(r"% <= ([\d.]+) milliseconds \(cumulative count (\d+)\)", output)
    points = sorted({(int(count), round(float(latency) * 1000)) for latency, count in found})
    histogram = empty()
    for (before, _), (count, latency) in pairwise([(0, 0), *points]):
        if count > before:
            record(histogram, latency, count - before)
    return histogram
