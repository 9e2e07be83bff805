"""Runs one schedule of a planted race again and again, half of the times beside other work, and compares."""

import hashlib
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.hunting.planted import Race, image, races
from harness.analysis.hunt.seed import seeded
from harness.core.machine import Image
from harness.core.schedule import Schedule
from harness.host.process.die_with_parent import die_with_parent
from harness.runner.session import Session

VCPUS = (1, 2, 4)


@contextmanager
def busy_host() -> Iterator[None]:
    """Other work on each cpu, at this process's priority."""
    cpus = len(os.sched_getaffinity(0))
    work = [subprocess.Popen(die_with_parent([sys.executable, "-c", "while True: pass"])) for _ in range(cpus)]
    try:
        yield
        assert all(one.poll() is None for one in work), "the other work was not there"
    finally:
        for one in work:
            one.kill()
            one.wait()


def once(session: Session, made: Image, race: Race, schedule: Schedule) -> tuple[str, str]:
    """The outcome of one run, and a digest of its console, in which the guest's clock at its end stands."""
    run = session.run_on(made, seeded(race.program, schedule))
    return run.verdict.outcome, hashlib.sha256(bytes(run.transcript.raw)).hexdigest()[:16]


def replaying(session: Session, cell: str, names: Collection[str], times: int, number: int) -> None:
    """Print a row for each race and number of vCPUs: how many of the runs were the same."""
    print("| race | schedule | runs | beside other work | the same | outcome |")
    print("|---|---|---|---|---|---|", flush=True)
    with TemporaryDirectory() as folder:
        made = image(session, cell, Path(folder))
        for race in races(names):
            for cpus in VCPUS:
                schedule = Schedule.drawn(number, cpus)
                alone, beside = (times + 1) // 2, times // 2
                seen = [once(session, made, race, schedule) for _ in range(alone)]
                with busy_host():
                    seen += [once(session, made, race, schedule) for _ in range(beside)]
                (outcome, _), same = Counter(seen).most_common(1)[0]
                print(
                    f"| `{race.name}` | `{schedule}` | {times} | {beside} | {same} of {times} | {outcome} |",
                    flush=True,
                )
