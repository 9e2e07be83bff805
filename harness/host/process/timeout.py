"""How long an answer may take: seconds of the answerer's own time, not of a host that runs something else.

A process that is starved does not answer, and is not broken. So the time is added to a limit in which it and its
children, or we ourselves, were ready to run and the host ran others.
"""

import os
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import CLOCK_BOOTTIME, clock_gettime

from harness.host.in_lab import stretched

WORTH_WAITING = 0.02
"""A process that was kept waiting for less than this share of its limit had its time."""
SLOWEST = 120
"""So many times its limit is the most that an answer is waited for."""


class CpuFairTimeout:
    """With the process `pid`, for an answer that should take at most `limit` seconds, longer in a lab. Begins when
    it is made."""

    def __init__(self, pid: int, limit: float) -> None:
        self._pid = pid
        self._limit = stretched(limit)
        self._starved = _starved_seconds(pid)
        self._granted = 0.0
        self._begun = False

    def seconds(self) -> float:
        """How long to wait now: the limit at first, then what the process was kept waiting since; 0 when it is
        over."""
        if not self._begun:
            self._begun = True
            return self._limit
        kept = max(0.0, _starved_seconds(self._pid) - self._starved - self._granted)
        if kept < WORTH_WAITING * self._limit or self._granted > SLOWEST * self._limit:
            return 0.0
        self._granted += kept
        return kept


def run_with_timeout(
    command: Sequence[str], limit: float, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end, with what it printed. Raises TimeoutExpired if it takes longer than its limit in
    seconds of its own time, and OSError if it can't be run."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, env=environment) as process:
        patience = CpuFairTimeout(process.pid, limit)
        while left := patience.seconds():
            with suppress(subprocess.TimeoutExpired):
                printed, errors = process.communicate(timeout=left)
                return subprocess.CompletedProcess(command, process.returncode, printed, errors)
        process.kill()
    raise subprocess.TimeoutExpired(command, limit)


def ran_and_waited(pid: int, thread: int) -> tuple[float, float]:
    """Seconds that a thread ran, and that it waited for a cpu of the host.

    Source: Linux, Documentation/scheduler/sched-stats.rst, /proc/<pid>/schedstat, in nanoseconds.
    """
    ran, waited, _ = Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()
    return int(ran) / 1e9, int(waited) / 1e9


def kept_waiting(pid: int) -> float:
    """The share, 0 to 1, of the time for which the process has existed in which its busiest thread, or its
    children's, was ready to run and the host ran something else; 0 where the process has gone."""
    waited, had = waits_of(pid)
    return waited / max(age(pid), had) if waited else 0.0


def waits_of(pid: int) -> tuple[float, float]:
    """Seconds that the busiest thread of the process and its children waited for a cpu, and those with the ones
    that it ran; 0 where the process has gone."""
    ran, waited = max(times_of(pid).values(), key=sum, default=(0.0, 0.0))
    return waited, ran + waited


def times_of(pid: int) -> dict[int, tuple[float, float]]:
    """Seconds that each thread of the process and its children ran and waited for a cpu, by its number."""
    return {thread: _times(one, thread) for one in _family(pid) for thread in _threads(one)}


def age(pid: int) -> float:
    """For how many seconds the process has existed; 0 where it has gone.

    Source: proc_pid_stat(5), starttime, the 22nd field, in clock ticks since the host's boot.
    """
    try:
        began = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0.0
    return max(0.0, clock_gettime(CLOCK_BOOTTIME) - began / os.sysconf("SC_CLK_TCK"))


def _starved_seconds(pid: int) -> float:
    """How long the process, its children and this thread were kept waiting by now, the slowest thread of each."""
    own = _waited(threading.get_native_id(), threading.get_native_id())
    return own + sum(max((_waited(one, thread) for thread in _threads(one)), default=0.0) for one in _family(pid))


def _family(pid: int) -> Iterator[int]:
    yield pid
    for thread in _threads(pid):
        with suppress(OSError, ValueError):
            for child in Path(f"/proc/{pid}/task/{thread}/children").read_text().split():
                yield from _family(int(child))


def state_of(pid: int) -> str:
    """The letter of the process's state, of proc_pid_stat(5); empty where it has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def _threads(pid: int) -> list[int]:
    """Its threads; none of a zombie, of which the times of its first thread alone are left."""
    if state_of(pid) in ("", "Z", "X"):
        return []
    try:
        return [int(thread.name) for thread in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return []


def _waited(pid: int, thread: int) -> float:
    return _times(pid, thread)[1]


def _times(pid: int, thread: int) -> tuple[float, float]:
    try:
        return ran_and_waited(pid, thread)
    except (OSError, ValueError):
        return 0.0, 0.0
