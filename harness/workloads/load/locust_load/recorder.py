"""Counts what one of locust's processes has seen, and sends each second to the harness as a line of JSON."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

from harness.workloads.load.histogram import empty, encoded, record

LAST = 500_000_000
"""Nanoseconds after the end of the load in which an answer counts for its last second."""


class Recorder:
    """Counts what ends in the current second, and reports each second when it is over, also empty ones.

    Times are monotonic nanoseconds, latencies microseconds.
    """

    def __init__(self, send: Callable[[bytes], None]) -> None:
        self._send = send
        self._began = self._ends = 0
        self._second = 0
        self._clear()

    def begin(self, at: int, ends: int) -> None:
        """Set the start of the first second and the end of the load."""
        self._began, self._ends = at, ends

    def succeeded(self, now: int, began: int, size: int) -> None:
        """A right answer of `size` bytes came to a request that began, or was due, at `began`."""
        self.close(now)
        self._requests += 1
        self._bytes += size
        record(self._latency, (now - began) // 1000)

    def failed(self, now: int, kind: str, count: int = 1) -> None:
        """Requests got no right answer."""
        self.close(now)
        self._failures[kind] += count

    def record_lag(self, microseconds: int) -> None:
        """A request was started this much after it was due, though a user was free."""
        record(self._lag, microseconds)

    def close(self, now: int) -> None:
        """Report the seconds that are over."""
        while now >= self._end_of_second():
            self._send_second()

    def _end_of_second(self) -> int:
        """When the current second is over. The load's last second waits for the last answers, which else would
        form a second of a few milliseconds."""
        over = self._began + (self._second + 1) * 10**9
        return over + LAST if over == self._ends else over

    def finish(self, now: int) -> None:
        """Report the last second, which may be shorter, and that no more will come."""
        self.close(now)
        self._send_second()
        self._send(json.dumps({"done": (now - self._began) / 1e9}).encode() + b"\n")

    def _send_second(self) -> None:
        line: dict[str, Any] = {
            "second": self._second,
            "requests": self._requests,
            "failures": self._failures,
            "bytes": self._bytes,
            "latency": encoded(self._latency),
            "lag": encoded(self._lag),
        }
        self._second += 1
        self._clear()
        self._send(json.dumps(line).encode() + b"\n")

    def _clear(self) -> None:
        self._requests = self._bytes = 0
        self._failures: Counter[str] = Counter()
        self._latency, self._lag = empty(), empty()
