"""What the host does to a guest: it keeps it waiting for a cpu, or stops it. From within both look like a stall.

Nothing tells of a pause when it is over but a clock, so whoever waits for a guest looks at it once a second.
"""

import threading
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass
from time import CLOCK_BOOTTIME, clock_gettime, monotonic, thread_time

from harness.host.process.cpu_time import age, ran_and_waited, state_of, waits_of

PULSE_SECONDS = 1.0
LEAST_PAUSE = 2.0
"""Seconds: no watchdog of any kernel is set to less than ten times this."""

SPOILT_SECONDS = 240.0
"""For so long after a pause a watchdog may speak of it: the slowest looks every 120 s. Source:
kernel/hung_task.c."""

STARVED_SECONDS, STARVED = 30.0, 0.9
"""A guest that waited for more of so many seconds than this share gets nothing done within a watchdog's time."""

MOST_LOOKS = 2000
"""At most ten a second are taken, and what is asked of them is of less than a minute."""

STOPPED = "Tt"
"""States of a process that a signal or a debugger has stopped. Source: proc_pid_stat(5)."""


@dataclass(frozen=True, slots=True)
class Pause:
    """The host did not let the guest run for so many `seconds`; `at` is when that began, in seconds since the
    guest's process was started, and `how` what the host did, as a sentence goes on after "the host"."""

    at: float
    seconds: float
    how: str

    @property
    def end(self) -> float:
        """When the guest ran again, in seconds since its process was started."""
        return self.at + self.seconds


class HostEffects:
    """Watches the host for one guest, whose process is `pid` and was started at the monotonic time `started`."""

    def __init__(self, pid: int, started: float) -> None:
        self._pid = pid
        self._started = started
        self._pauses: list[Pause] = []
        self._waits = deque([(started, 0.0)], maxlen=MOST_LOOKS)
        self.stopped = False
        self.kept_waiting = 0.0
        """The share of the time for which the guest has existed in which it was ready to run and the host ran
        something else, 0 to 1."""
        self.steal = 0.0
        """The same share of the time in which it was ready to run."""
        self.begin()

    def begin(self) -> None:
        """A wait begins: what was before is no pause."""
        self._now, self._ahead, self._busy = monotonic(), _ahead(), _own_time()

    def look(self) -> None:
        """Note what happened since the last look, which was about a second ago if nothing did."""
        since, ahead, busy = monotonic() - self._now, _ahead() - self._ahead, _own_time() - self._busy
        was_stopped, self.stopped = self.stopped, state_of(self._pid) in STOPPED
        if ahead > LEAST_PAUSE:
            self._note(since, ahead, "was suspended")
        if was_stopped and self.stopped:
            self._note(since, since, "stopped the guest's process")
        elif since - busy > PULSE_SECONDS + LEAST_PAUSE:
            self._note(since, since - busy - PULSE_SECONDS, "stopped the harness and its guests")
        waited, total = waits_of(self._pid)
        if total:
            existed = max(age(self._pid), total)
            self.kept_waiting, self.steal = waited / existed, waited / total
            self._waits.append((monotonic(), waited))
        self.begin()

    @property
    def pauses(self) -> tuple[Pause, ...]:
        """When the host did not let the guest run at all, in order."""
        return tuple(pause for pause in self._pauses if pause.seconds >= LEAST_PAUSE)

    @property
    def lost_seconds(self) -> float:
        """How much of its time the host did not give the guest."""
        return self._waits[-1][1] + sum(pause.seconds for pause in self.pauses)

    @property
    def own_seconds(self) -> float:
        """How long the guest has existed in its own time."""
        return self.own_seconds_at(monotonic())

    def own_seconds_at(self, when: float) -> float:
        """How long the guest had existed in its own time at a monotonic time, by the next look at the host."""
        index = min(bisect_left(self._waits, when, key=lambda row: row[0]), len(self._waits) - 1)
        paused = sum(pause.seconds for pause in self.pauses if self._started + pause.end <= when)
        return when - self._started - self._waits[index][1] - paused

    def share_waited(self, seconds: float) -> float:
        """The share of the last so many seconds, 0 to 1, in which the guest was ready to run and the host ran
        something else."""
        now, waited = self._waits[-1]
        before, had = next((row for row in reversed(self._waits) if row[0] <= now - seconds), self._waits[0])
        return (waited - had) / (now - before) if now > before else 0.0

    def disturbance(self, at: float) -> str:
        """What the host did that a watchdog of the guest's kernel which spoke at the monotonic time `at` may have
        taken for a stall, as a sentence goes on after "the host"; nothing if it did nothing of the kind."""
        when = at - self._started
        for pause in reversed(self.pauses):
            if pause.at <= when <= pause.end + SPOILT_SECONDS:
                return f"{pause.how} for {pause.seconds:.0f} s"
        share = self.share_waited(STARVED_SECONDS)
        if share > STARVED:
            return f"ran something else for {share:.0%} of the guest's last {STARVED_SECONDS:.0f} s"
        return ""

    def _note(self, since: float, seconds: float, how: str) -> None:
        at = self._now - self._started + since - seconds
        last = self._pauses[-1] if self._pauses else None
        if last and last.how == how and at - last.end < PULSE_SECONDS:
            self._pauses[-1] = Pause(last.at, at + seconds - last.at, how)
        else:
            self._pauses.append(Pause(at, seconds, how))


def _ahead() -> float:
    """By how much the clock that runs on while the host is suspended is ahead of the one that does not."""
    return clock_gettime(CLOCK_BOOTTIME) - monotonic()


def _own_time() -> float:
    """Seconds in which this thread ran, or was ready to."""
    own = threading.get_native_id()
    try:
        return thread_time() + ran_and_waited(own, own)[1]
    except (OSError, ValueError):
        return thread_time()
