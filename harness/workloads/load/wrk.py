"""Runs wrk: the highest throughput of web servers, in a closed loop, one thread per cpu.

Rows are those of `harness.workloads.load.locust_load.clients.http`, sent unchanged, without `{n}`. With several
rows an answer is right if any row accepts it, because wrk does not say which request it belongs to. It checks
every answer's status, and the first of `body`, `contains` and `length` that its row has.

Latencies are exact to the microsecond, and include wrong answers. wrk does not count an answer that never came: at
most `users` requests, at the end. `bytes` include headers. There are no figures by second.
"""

import math
import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic, time
from typing import Any

from harness.core.errors import HostError
from harness.host.process.supervised import SupervisedProcess
from harness.workloads.load.cpu_use import Watch
from harness.workloads.load.histogram import empty, encoded, record
from harness.workloads.load.result import Generator, Result, Second
from harness.workloads.load.scenario import Load

REQUEST_TIMEOUT = 10
"""Seconds after which wrk counts an answer as a timeout."""

REPORT_SECONDS = 10.0
"""Seconds after the load's end that wrk has for its report."""

KINDS = {"connect": "refused", "read": "connection broken", "write": "connection broken", "timeout": "timeout"}
"""wrk's names for failures, and ours; it does not tell a reset from an early end."""


def run(
    load: Load, host: str, port: int, seed: int, on_second: Callable[[Second], None], stop: threading.Event,
    command_prefix: Sequence[str] = (),
) -> Result:  # fmt: skip
    """Run the load by wrk; see `harness.workloads.load.run.run`. `on_second` is never called."""
    threads = min(len(os.sched_getaffinity(0)), load.users)
    seconds = max(1, math.ceil(load.duration))
    command = [
        *command_prefix,
        "wrk",
        "-t",
        f"{threads}",
        "-c",
        f"{load.users}",
        "-d",
        f"{seconds}s",
        "-T",
        f"{REQUEST_TIMEOUT}s",
    ]
    command += ["-s", "wrk.lua", f"http://{host}:{port}/", "--", f"{seed}", f"{load.users}"]
    for row in load.requests:
        command += _arguments(row, host, port)
    watch, started = Watch(), time()
    try:
        with SupervisedProcess("wrk", command, cwd=Path(__file__).parent) as process:
            status = _wait(process, watch, load.duration, stop)
            output = process.output().strip()
            exit_text = process.last_words(1.0) if status != 0 else ""
    except HostError as error:
        return Result("wrk", load.name, "closed loop", started, error=error.message)
    return _result(load, started, output, exit_text, watch)


def _arguments(row: Mapping[str, Any], host: str, port: int) -> list[str]:
    """One row as arguments of wrk.lua."""
    send = row.get("send", "")
    headers = {"Host": f"{host}:{port}", **row.get("headers", {})}
    if send:
        headers["Content-Length"] = len(send.encode())
    lines = [f"{row.get('method', 'GET')} {row.get('path', '/')} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    check = next((name for name in ("body", "contains", "length") if name in row), "")
    text = "\r\n".join([*lines, "", send])
    return [f"{row.get('weight', 1)}", text, f"{row.get('status', 200)}", check, f"{row.get(check, '')}"]


def _wait(process: SupervisedProcess, watch: Watch, duration: float, stop: threading.Event) -> int | None:
    """wrk's exit status. At the end of the duration, or when stopped, it is interrupted and prints its report."""
    ends = monotonic() + duration
    while (status := process.wait(0.1)) is None:
        watch.look([process.pid])
        if monotonic() > ends + REPORT_SECONDS:
            return None
        if stop.is_set() or monotonic() > ends:
            process.interrupt()
            return process.wait(REPORT_SECONDS)
    return status


def _result(load: Load, started: float, output: str, exit_text: str, watch: Watch) -> Result:
    before, _, report = output.partition("OSV_HARNESS\n")
    if not report:
        # wrk connects once before it starts, and exits if that fails: a failure of the server.
        if "unable to connect" in before and "refused" in before:
            return Result("wrk", load.name, "closed loop", started, failures={"refused": 1})
        return Result("wrk", load.name, "closed loop", started, error=exit_text or f"wrk: {before}")
    failures: Counter[str] = Counter()
    numbers: Counter[str] = Counter()
    histogram = empty()
    for line in report.splitlines():
        name, *values = line.split()
        value = int(float(values[0]))
        kind, _, what = name.partition(":")
        if kind == "us":
            record(histogram, value, int(float(values[1])))
        elif kind == "error":
            failures[KINDS[what]] += value
        elif kind == "status":
            failures[f"status {what}"] += value
        elif kind == "wrong":
            failures["wrong body"] += value
        else:
            numbers[kind] += value
    wrong = sum(count for kind, count in failures.items() if kind == "wrong body" or kind.startswith("status"))
    if not numbers["requests"] and not failures.total():
        failures["timeout"] = load.users
    use = watch.use()
    return Result(
        "wrk", load.name, "closed loop", started, numbers["duration"] / 1e6, numbers["requests"] - wrong,
        dict(+failures), (), encoded(histogram), numbers["bytes"],
        Generator(use.ran, 0.0, bool(use.limit), use.limit),
    )  # fmt: skip
