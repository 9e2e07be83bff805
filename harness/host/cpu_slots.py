"""Slots for vCPUs on this host: the guests of all runs together never have more busy vCPUs than it has cpus."""

import fcntl
import os
import select
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

LOOK_AGAIN = 0.1  # seconds; who is killed announces nothing
LOOK_WITHOUT_FIFO = 0.02  # seconds
ALL_CPUS = 1 << 16
"""More than any host has: measurements run alone."""


@contextmanager
def cpu_slots(wanted: int, folder: Path) -> Iterator[None]:
    """Hold `wanted` of the host's cpus (all if it has fewer); waits until they are free.

    Each cpu is a file lock in `folder`, shared by every process that uses the folder; the kernel releases it if
    the holder is killed. A waiting process holds the lock `turn`, so that one that needs all cpus is not overtaken
    forever by those that need one. It reads the FIFO `freed`, to which everyone writes who has given cpus back:
    flock can not wait for the first of several locks.
    """
    cpus = range(len(os.sched_getaffinity(0)))
    wanted = min(wanted, len(cpus))
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as held:
        held.callback(_announce, folder / "freed")  # as the last: the locks are given back then
        with _locked(folder / "turn", block=True), _fifo(folder / "freed") as freed:
            mine: set[int] = set()
            while True:
                for cpu in cpus:
                    if len(mine) < wanted and cpu not in mine:
                        with suppress(BlockingIOError):
                            held.enter_context(_locked(folder / f"cpu{cpu}", block=False))
                            mine.add(cpu)
                if len(mine) == wanted:
                    break
                _wait(freed)
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


@contextmanager
def _fifo(path: Path) -> Iterator[int | None]:
    """The FIFO's end for reading; None on a filesystem without FIFOs, or without room for one.

    It is opened for writing too: when all writers have closed theirs, poll would report that at once and always.
    """
    try:
        with suppress(FileExistsError):
            os.mkfifo(path, 0o600)
        end = os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        yield None
        return
    try:
        yield end
    finally:
        os.close(end)


def _wait(fifo: int | None) -> None:
    """Wait until something was written, and read all of it."""
    if fifo is None:
        time.sleep(LOOK_WITHOUT_FIFO)
        return
    poll = select.poll()
    poll.register(fifo, select.POLLIN)
    poll.poll(LOOK_AGAIN * 1000)
    with suppress(BlockingIOError):
        os.read(fifo, select.PIPE_BUF)


def _announce(fifo: Path) -> None:
    """Tell the one who waits. If nobody does, opening the FIFO fails."""
    with suppress(OSError):
        end = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.write(end, b"\0")
        finally:
            os.close(end)
