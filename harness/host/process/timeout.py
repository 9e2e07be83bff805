"""Time limits in seconds of a process's own time, so that a busy host does not break them.

A process that is starved does not answer, and is not broken. So a limit is extended by the time in which the
process and its children, or we ourselves, were ready to run and the host ran others.
"""

import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress

from harness.host.in_lab import lab_timeout
from harness.host.process.cpu_time import starved_seconds

WORTH_WAITING = 0.02
"""A process that waited for a cpu for less than this share of its limit gets no extension."""
AT_ONCE = 0.5
"""Seconds of the first wait, or the limit if that is shorter. It is not counted: what answers in it needs no look
at its threads."""
SLOWEST = 120
"""The longest wait for an answer, as a multiple of its limit."""


class CpuFairTimeout:
    """The time limit of an answer of the process `pid`: `limit` seconds, more in a lab, after a first moment."""

    def __init__(self, pid: int, limit: float) -> None:
        self._pid = pid
        self._limit = lab_timeout(limit)
        self._starved: float | None = None
        self._granted = 0.0
        self._begun = False

    def seconds(self) -> float:
        """How long to wait now: first a moment and the limit, then the time for which the process has waited for a
        cpu since; 0 at the end."""
        if not self._begun:
            self._begun = True
            return min(AT_ONCE, self._limit)
        if self._starved is None:
            self._starved = starved_seconds(self._pid)
            return self._limit
        kept = max(0.0, starved_seconds(self._pid) - self._starved - self._granted)
        if kept < WORTH_WAITING * self._limit or self._granted > SLOWEST * self._limit:
            return 0.0
        self._granted += kept
        return kept


def run_with_timeout(
    command: Sequence[str], limit: float, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a program until it ends; returns its output. Raises TimeoutExpired if it takes more than `limit` seconds
    of its own time, and OSError if it can't be run."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, env=environment) as process:
        timeout = CpuFairTimeout(process.pid, limit)
        while left := timeout.seconds():
            with suppress(subprocess.TimeoutExpired):
                printed, errors = process.communicate(timeout=left)
                return subprocess.CompletedProcess(command, process.returncode, printed, errors)
        process.kill()
    raise subprocess.TimeoutExpired(command, limit)
