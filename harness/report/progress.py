"""Shows events of long work: a live line on a terminal, plain lines elsewhere, and a sign of life of silent
work."""

import sys
import threading
from contextlib import suppress
from time import monotonic

from harness.core.events import Event

SHOWN = (
    "bisect.", "build.", "cloud.", "farm.", "template.", "cache.waiting", "cache.damaged", "fetch.", "hunt.",
    "lab.", "packages.",
)  # fmt: skip
GOES_ON = (".building", ".fetching", ".installing", ".progress", ".restarted", ".started", ".waiting")
"""How the kinds of events end after which work, possibly silent, goes on; any other event ends it."""
PLAIN_SECONDS = 10.0
"""Seconds between two lines of the same work without a terminal."""


class Progress:
    """A subscriber that writes to standard error until it is closed."""

    began = monotonic()
    """When the command began: one clock for all of its work, and for its processes."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._last_plain = 0.0
        self._shown = ""
        self._goes_on = False
        self._ended = threading.Event()
        self._ticker: threading.Thread | None = None
        self._writing = threading.Lock()

    def __call__(self, event: Event) -> None:
        """Show the event if it is one of long work."""
        self._goes_on = event.kind.endswith(GOES_ON)
        if not event.kind.startswith(SHOWN):
            return
        passing = event.kind.endswith(".progress")
        with self._writing:
            self._shown = f"{event.kind} {event.about} {event.detail}".rstrip()
            self._write(event.at, self._shown, passing)
        if self._ticker is None:
            self._ticker = threading.Thread(target=self._tick, daemon=True)
            self._ticker.start()

    def close(self) -> None:
        """Show nothing more: the work has ended."""
        self._ended.set()
        with self._writing:
            if self._ticker and self._live:
                _show("\r\x1b[K")

    def _write(self, at: float, words: str, passing: bool) -> None:
        text = f"[{at - self.began:6.1f} s] {words}"
        if self._live:
            _show(f"\r\x1b[K{text[:150]}" + ("" if passing else "\n"))
        elif not passing or at - self._last_plain >= PLAIN_SECONDS:
            self._last_plain = at
            _show(text + "\n")

    def _tick(self) -> None:
        """Repeat the last event while its work goes on."""
        while not self._ended.wait(1.0 if self._live else PLAIN_SECONDS):
            with self._writing:
                if self._goes_on and not self._ended.is_set():
                    self._write(monotonic(), f"still: {self._shown}", passing=True)


def _show(text: str) -> None:
    """Write it if standard error accepts it: work does not end because its progress can't be shown."""
    with suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()
