"""Room for vCPUs on this host: guests of all runs together never have more busy ones than it has cpus."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

ALL_CPUS = 1 << 16
"""More than any host has: what is measured runs alone."""


@contextmanager
def room_for(wanted: int, folder: Path) -> Iterator[None]:
    """Hold `wanted` of the host's cpus (all of them if it has fewer), waiting until they are free.

    Each cpu is a file lock in `folder`, shared by every process that uses the folder; the kernel releases
    it if the holder is killed. Those who want more than one take turns, so that two can't wait for each other.
    """
    cpus = range(len(os.sched_getaffinity(0)))
    wanted = min(wanted, len(cpus))
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:

        def take(name: str, block: bool) -> bool:
            lock = os.open(folder / name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | (0 if block else fcntl.LOCK_NB))
            except BlockingIOError:
                os.close(lock)
                return False
            held.callback(os.close, lock)
            return True

        if wanted > 1:
            take("several", block=True)
        mine: set[int] = set()
        for block in (False, True):
            for cpu in cpus:
                if len(mine) < wanted and cpu not in mine and take(f"cpu{cpu}", block):
                    mine.add(cpu)
        yield
