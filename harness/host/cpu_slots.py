"""Slots for vCPUs on this host: the guests of all runs together never have more busy vCPUs than it has cpus."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

LOOK_AGAIN = 0.02  # seconds
ALL_CPUS = 1 << 16
"""More than any host has: measurements run alone."""


@contextmanager
def cpu_slots(wanted: int, folder: Path) -> Iterator[None]:
    """Hold `wanted` of the host's cpus (all if it has fewer); waits until they are free.

    Each cpu is a file lock in `folder`, shared by every process that uses the folder; the kernel releases it if
    the holder is killed. A waiting process holds the lock `turn`, so that one that needs all cpus is not overtaken
    forever by those that need one.
    """
    cpus = range(len(os.sched_getaffinity(0)))
    wanted = min(wanted, len(cpus))
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        with _locked(folder / "turn", block=True):
            mine: set[int] = set()
            while True:
                for cpu in cpus:
                    if len(mine) < wanted and cpu not in mine:
                        with suppress(BlockingIOError):
                            held.enter_context(_locked(folder / f"cpu{cpu}", block=False))
                            mine.add(cpu)
                if len(mine) == wanted:
                    break
                time.sleep(LOOK_AGAIN)  # flock can not wait for the first of several locks
        yield


@contextmanager
def _locked(path: Path, block: bool) -> Iterator[None]:
    """Hold the file's lock. Raises BlockingIOError if another process holds it and `block` is false."""
    lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if block else fcntl.LOCK_NB))
        yield
    finally:
        os.close(lock)
