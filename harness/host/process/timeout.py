"""How long an answer may take: seconds of the answerer's own time, not of a host that runs something else.

A process that is starved does not answer, and is not broken. So the time is added to a limit in which it and its
children, or we ourselves, were ready to run and the host ran others.
"""

import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress

from harness.host.in_lab import stretched
from harness.host.process.cpu_time import starved_seconds

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
        self._starved = starved_seconds(pid)
        self._granted = 0.0
        self._begun = False

    def seconds(self) -> float:
        """How long to wait now: the limit at first, then what the process was kept waiting since; 0 when it is
        over."""
        if not self._begun:
            self._begun = True
            return self._limit
        kept = max(0.0, starved_seconds(self._pid) - self._starved - self._granted)
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
