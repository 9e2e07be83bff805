"""The members of a simulated farm, each a process: `python -m benchmarks.farm.members KIND …`.

The scheduler is the harness's own. A worker process holds many of dask's workers, whose tasks wait in place of
booting guests. The client hands out one run as `osv-harness farm run` does, and prints what it cost.
"""

import asyncio
import json
import os
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import dask
from distributed import Worker, get_worker

from harness.integrations.farm import worker as real
from harness.integrations.farm.dask_cluster import LOOPBACK, NO_PAGE, connect
from harness.integrations.farm.dispatcher import Dispatcher, Plan
from harness.integrations.farm.messages import CellRequest, TaskResult, TestList, verdict_id
from harness.integrations.farm.result_sink import ResultSink
from harness.metrics.history.jsonl import line_of
from harness.metrics.history.records import VerdictRecord
from harness.metrics.history.store import History
from harness.metrics.records import Environment, Version
from harness.runner.session import Session

RUN = "simulated"
TESTS = 200
"""Tests of a cell, a task each."""
TOLD = 100
"""After so many verdicts the client says how many it has stored."""
VERSION = Version("c" * 40, "d" * 64, "v0.57.0-398")


def workers(address: str, first: int, count: int, seconds: float) -> None:
    """Work for the farm as so many workers, until killed. Each task waits so long."""

    def list_tests(request: CellRequest) -> TestList:
        return TestList(_name(), tuple(f"tst-{number}.so" for number in range(TESTS)))

    def run_tests(request: CellRequest, names: Sequence[str], listed: TestList) -> TaskResult:
        time.sleep(seconds)
        where = Environment(_name(), "a cpu", 4, "", "tcg", "QEMU", "6.1.0")
        lines = b"".join(line_of(_passed(request, name, where, seconds)) for name in names)
        return TaskResult(_name(), _name(), lines)

    # dask sends functions by their names.
    real.list_tests, real.run_tests = list_tests, run_tests

    async def serve() -> None:
        members = [
            Worker(
                address, nthreads=1, name=f"w{number}", host=LOOPBACK, dashboard_address=NO_PAGE, memory_limit=0
            )
            for number in range(first, first + count)
        ]
        await asyncio.gather(*members)
        print("all work", flush=True)
        await asyncio.gather(*(one.finished() for one in members))

    asyncio.run(serve())


def client(address: str, cells: int, history: str, runs: str) -> None:
    """Hand out a run of so many cells, whose verdicts land in the history; print what it cost this process."""
    asked = [CellRequest(RUN, f"osv:x86_64-cell{number}-rofs-all", ()) for number in range(cells)]
    began = time.monotonic()
    with History(history) as store, connect(address, None) as farm:
        sink = ResultSink(store, RUN, Path(runs))
        before = len(sink.known)

        def store(result: TaskResult) -> None:
            sink.store(result)
            if len(sink.known) % TOLD == 0:
                print(f"stored {len(sink.known)}", flush=True)

        dispatcher = Dispatcher(farm, Session(), Plan(chunk=1), sink.known, store)
        not_run = dispatcher.run(asked, lambda request: "")
        used = resource.getrusage(resource.RUSAGE_SELF)
        cost = {
            "new": len(sink.known) - before, "not_run": len(not_run), "wall": time.monotonic() - began,
            "cpu": used.ru_utime + used.ru_stime, "kib": used.ru_maxrss,
        }  # fmt: skip
    print(json.dumps(cost), flush=True)


def _passed(request: CellRequest, name: str, where: Environment, seconds: float) -> VerdictRecord:
    return VerdictRecord(
        "unit", request.cell, name, "passed", True, "", seconds, VERSION, where, request.run, time.time(),
        verdict_id(request, name),
    )  # fmt: skip


def _name() -> str:
    return str(get_worker().name)


if __name__ == "__main__":
    dask.config.set({"distributed.worker.daemon": True})
    kind, *words = sys.argv[1:]
    if kind == "workers":
        workers(words[0], int(words[1]), int(words[2]), float(words[3]))
    else:
        client(words[0], int(words[1]), words[2], words[3])
    os._exit(0)
