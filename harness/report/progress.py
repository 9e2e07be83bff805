"""Shows events of long work: a live line on a terminal, plain lines elsewhere."""

import sys
from time import monotonic

from harness.events import Event

SHOWN = (
    "bisect.", "build.", "farm.", "template.", "cache.waiting", "cache.damaged", "fetch.", "lab.", "packages.",
)  # fmt: skip
PLAIN_SECONDS = 10.0


class Progress:
    """A subscriber that writes to standard error."""

    def __init__(self) -> None:
        self._began = monotonic()
        self._live = sys.stderr.isatty()
        self._last_plain = 0.0

    def __call__(self, event: Event) -> None:
        """Show the event if it is one of long work."""
        if not event.kind.startswith(SHOWN):
            return
        passing = event.kind.endswith(".progress")
        text = f"[{event.at - self._began:6.1f} s] {event.kind} {event.about} {event.detail}".rstrip()
        if self._live:
            sys.stderr.write(f"\r\x1b[K{text[:150]}" + ("" if passing else "\n"))
            sys.stderr.flush()
        elif not passing or event.at - self._last_plain > PLAIN_SECONDS:
            self._last_plain = event.at
            sys.stderr.write(text + "\n")
            sys.stderr.flush()
