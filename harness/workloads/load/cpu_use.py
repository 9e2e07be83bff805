"""How much cpu time the generators of a load get and wait for."""

from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic

from harness.host.process.cpu_time import times_of

BUSY = 0.9
"""The share of its time running or waiting for a cpu above which a thread has no reserve."""

STARVED = 0.1
"""A thread is starved if it waits for a cpu for more than this share of its time, and for more than half as long
as it runs."""


@dataclass(frozen=True, slots=True)
class Use:
    """The shares of its time in which the busiest thread ran, and in which it waited for a cpu."""

    ran: float = 0.0
    waited: float = 0.0
    known: bool = True

    @property
    def limit(self) -> str:
        """Why the generator could not do more; empty if it could."""
        if not self.known:
            return "how much cpu time the generator got could not be read"
        if self.ran + self.waited <= BUSY and self.waited <= max(self.ran / 2, STARVED):
            return ""
        return (
            f"the generator's busiest thread ran for {self.ran:.0%} of the time and waited for a cpu for "
            f"{self.waited:.0%}"
        )


class Watch:
    """How much cpu time the threads of processes get between the first and the last look."""

    def __init__(self) -> None:
        self._first: dict[int, tuple[float, float, float]] = {}
        self._last: dict[int, tuple[float, float, float]] = {}

    def look(self, pids: Sequence[int]) -> None:
        """Read the cpu times of these processes' threads; ended threads keep their last values."""
        for pid in pids:
            for thread, times in times_of(pid).items():
                self._last[thread] = (monotonic(), *times)
                self._first.setdefault(thread, self._last[thread])

    def use(self) -> Use:
        """The use of the thread with the least reserve."""
        uses = []
        for thread, (until, ran, waited) in self._last.items():
            since, ran_before, waited_before = self._first[thread]
            span = until - since
            if span > 0.1:
                uses.append(Use((ran - ran_before) / span, (waited - waited_before) / span))
        return max(uses, key=lambda use: use.ran + use.waited, default=Use(known=False))
