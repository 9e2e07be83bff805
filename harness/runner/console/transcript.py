"""Everything that a guest printed, unchanged, and made safe for people."""

import sys
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from harness.core.text import printable

LONGEST_SHOWN = 2000  # characters of one line of a tail
TIME_STEP = 0.0001  # seconds: times that differ by less are noted once


@dataclass(frozen=True, slots=True)
class Line:
    """One line. `at` is in seconds since the guest's process started; `text` is safe to show as plain text (HTML
    still needs its own escaping)."""

    at: float
    text: str


class Transcript:
    """The bytes of one guest's console, and the time at which each chunk arrived, in seconds from `start`."""

    def __init__(self, start: float) -> None:
        self.start = start
        self.raw = bytearray()
        self._offsets: list[int] = []
        self._times: list[float] = []

    def add(self, data: bytes, at: float) -> None:
        """Append a chunk that arrived at the monotonic time `at`."""
        if not self._times or at - self.start - self._times[-1] >= TIME_STEP:
            self._offsets.append(len(self.raw))
            self._times.append(at - self.start)
        self.raw += data

    def time_of(self, offset: int) -> float:
        """When the byte at `offset` arrived; 0.0 before anything has."""
        index = bisect_right(self._offsets, offset) - 1
        return self._times[index] if index >= 0 else 0.0

    def came_since(self, at: float, most: int) -> list[tuple[float, bytes]]:
        """The chunks that arrived since `at`, with their times in seconds from `start`; the last `most` of
        them."""
        first = max(bisect_left(self._times, at), len(self._times) - most)
        begins = self._offsets[first:]
        ends = [*begins[1:], len(self.raw)]
        return [
            (when, bytes(self.raw[a:b])) for when, a, b in zip(self._times[first:], begins, ends, strict=False)
        ]

    def tail(self, count: int) -> list[Line]:
        """The last `count` lines, each shortened; reads at most the last 1 MiB."""
        return list(deque(self._lines(max(0, len(self.raw) - (1 << 20)), LONGEST_SHOWN), maxlen=count))

    def write(self, folder: Path) -> None:
        """Write `console.raw`, unchanged, and `console.txt`, timed and safe to show, into the folder."""
        (folder / "console.raw").write_bytes(self.raw)
        with (folder / "console.txt").open("w", encoding="utf-8") as file:
            file.writelines(f"{line.at:10.4f}  {line.text}\n" for line in islice(self._lines(0), 500_000))

    def _lines(self, start: int, longest: int = sys.maxsize) -> Iterator[Line]:
        """The lines from the offset on, at most `longest` characters each; the last may be incomplete."""
        while start < len(self.raw):
            end = self.raw.find(b"\n", start)
            end = len(self.raw) if end < 0 else end
            text = printable(bytes(self.raw[start:end]))
            more = f" … {len(text) - longest} more" if len(text) > longest else ""
            yield Line(self.time_of(start), text[:longest] + more)
            start = end + 1
