"""The cpu time that threads of processes got, and the time that they waited for a cpu of the host.

Source: Linux, Documentation/scheduler/sched-stats.rst, /proc/<pid>/schedstat.
"""

import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from time import CLOCK_BOOTTIME, clock_gettime


def ran_and_waited(pid: int, thread: int) -> tuple[float, float]:
    """Seconds that a thread ran, and that it waited for a cpu of the host. Raises `OSError` if it has gone."""
    ran, waited, _ = _read(f"/proc/{pid}/task/{thread}/schedstat").split()
    return int(ran) / 1e9, int(waited) / 1e9


def kept_waiting(pid: int) -> float:
    """The share, 0 to 1, of the process's lifetime in which its busiest thread, or its children's, was ready to
    run and the host ran something else; 0 if the process has gone."""
    waited, had = waits_of(pid)
    return waited / max(age(pid), had) if waited else 0.0


def waits_of(pid: int) -> tuple[float, float]:
    """Seconds that the busiest thread of the process and its children waited for a cpu, and seconds that it waited
    or ran; 0 if the process has gone."""
    ran, waited = max(times_of(pid).values(), key=sum, default=(0.0, 0.0))
    return waited, ran + waited


def times_of(pid: int) -> dict[int, tuple[float, float]]:
    """Seconds that each thread of the process and its children ran and waited for a cpu, by thread number."""
    return {thread: times for one in _family(pid) for thread, times in _own_times(one).items()}


def age(pid: int) -> float:
    """For how many seconds the process has existed; 0 if it has gone.

    Source: proc_pid_stat(5), starttime, the 22nd field, in clock ticks since the host's boot.
    """
    try:
        began = int(_read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0.0
    return max(0.0, clock_gettime(CLOCK_BOOTTIME) - began / os.sysconf("SC_CLK_TCK"))


def starved_seconds(pid: int) -> float:
    """How long the process, its children and this thread have waited for a cpu so far: the slowest thread of
    each."""
    own, waited = threading.get_native_id(), 0.0
    with suppress(OSError, ValueError):
        _, waited = ran_and_waited(own, own)
    return waited + sum(max((of for _, of in _own_times(one).values()), default=0.0) for one in _family(pid))


def _family(pid: int) -> Iterator[int]:
    yield pid
    for thread in _threads(pid):
        with suppress(OSError, ValueError):
            for child in _read(f"/proc/{pid}/task/{thread}/children").split():
                yield from _family(int(child))


def state_of(pid: int) -> str:
    """The letter of the process's state, from proc_pid_stat(5); empty if it has gone."""
    try:
        return _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()[0].decode()
    except (OSError, IndexError):
        return ""


def _threads(pid: int) -> list[int]:
    """Its threads; none of a zombie, of which only the times of its first thread are left."""
    if state_of(pid) in ("", "Z", "X"):
        return []
    try:
        with os.scandir(f"/proc/{pid}/task") as threads:
            return [int(thread.name) for thread in threads]
    except OSError:
        return []


def _own_times(pid: int) -> dict[int, tuple[float, float]]:
    """The times of the process's threads, except those that ended in the meantime."""
    found = {}
    for thread in _threads(pid):
        with suppress(OSError, ValueError):
            found[thread] = ran_and_waited(pid, thread)
    return found


def _read(path: str) -> bytes:
    """The whole file. It is done ten times a second for each guest, where pathlib and decoding would cost most."""
    file = os.open(path, os.O_RDONLY)
    try:
        return os.read(file, 1 << 16)
    finally:
        os.close(file)
