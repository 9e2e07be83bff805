"""A running guest: its console, its process, and waiting for the first of several events."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from time import monotonic
from types import TracebackType

from pexpect import EOF, TIMEOUT

from harness.core.close_on_error import close_on_error
from harness.core.events import publish
from harness.core.machine import Machine
from harness.host.in_lab import lab_timeout
from harness.host.interference import PULSE_SECONDS, HostEffects
from harness.host.process.cpu_time import times_of
from harness.runner.console.matcher import ConsoleMatcher, Match
from harness.runner.console.patterns import patterns_of
from harness.runner.console.serial import SerialConsole
from harness.runner.console.transcript import Transcript
from harness.runner.observation import Activity
from harness.vm.base import ReadsCode, Vcpu, Vm

SAMPLES, SAMPLE_SECONDS = 30, 0.02
SETTLED_SECONDS, REST_SECONDS = 0.2, 1.0
SPIN_BYTES = 64  # to either side
WATCHED_AGAIN = 2
MOST = 2 / 3  # of the looks at a vCPU; a loop of real work, the body of a checksum even, has less in one place
IDLE_SHARE = 0.05
MUCH = 0.3  # of what the busiest vCPU does: an idle one serves timers
WORTH_WAITING = 0.02
RHYTHM = 2.0
MOST_PRINTS = 500  # pieces of what came last, that show how often a program prints
MOMENT, MOMENT_SHARE = 2.0, 0.2  # seconds, and of the limit where that is less
WAITS = {"x86_64": bytes.fromhex("f4"), "aarch64": bytes.fromhex("7f2003d5")}
"""HLT and WFI, with which a vCPU waits for an interrupt. Source: Intel SDM, volume 2; Arm ARM, C6.2."""
LOOK_AGAIN = 0.1
"""Seconds between two readings of what the host gave the guest, taken when the guest printed anyway."""


class Guest(AbstractContextManager["Guest"]):
    """One virtual machine with its console. Leaving its context ends it and leaves nothing behind."""

    def __init__(self, machine: Machine, vm: Vm) -> None:
        self.machine = machine
        self.vm = vm
        self.closed = False
        self._looked = 0.0
        with close_on_error(vm):
            self.transcript = Transcript(vm.started)
            self.monitor = ConsoleMatcher(patterns_of(machine.image.cell.kernel), self._publish)
            self.console = SerialConsole(vm.console, self.transcript, self.monitor)
            self.host = HostEffects(vm.pid, vm.started)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.vm.close()

    @property
    def kept_waiting(self) -> float:
        """The share of its lifetime in which it was ready to run and the host ran something else."""
        return self.host.kept_waiting

    def wait(self, done: Callable[[], bool], deadline: float) -> bool:
        """Read the console until `done`, the console's end (then `closed`), or the monotonic `deadline`.

        Returns `done`, which is evaluated after bytes came, after something in `console.watched` happened, and
        once a second, when the host is checked too.
        """
        self.host.begin()
        while not done():
            left = deadline - monotonic()
            if left <= 0:
                return False
            try:
                self.console.read_nonblocking(timeout=min(left, PULSE_SECONDS))
            except TIMEOUT:
                pass
            except EOF:
                self.closed = True
                self.monitor.finish()
                return done()
            self._look_at_host()
        return True

    def wait_within(self, done: Callable[[], bool], limit: float) -> Activity | None:
        """Wait until `done` or the console's end, and return None; at most `limit` seconds.

        The limit is in the guest's own time: the time in which the host ran something else or stopped the guest is
        added, so that a busy host makes a test late and not wrong. If the time is over, returns what the guest did
        then.
        """
        self.host.begin()
        self.host.look()
        began = monotonic()
        deadline = began + limit
        granted = self.host.lost_seconds
        while not (self.wait(done, deadline) or self.closed):
            lost = self.host.lost_seconds
            if self.host.stopped or lost - granted < WORTH_WAITING * limit:
                return self.activity(began, limit)
            deadline = monotonic() + lost - granted
            granted = lost
        return None

    def wait_for_quiet(self, quiet: float, longest: float) -> None:
        """Read until nothing came for `quiet` seconds, at most for `longest` seconds."""
        latest = monotonic()
        deadline = latest + longest
        while not self.closed and (left := min(latest + quiet, deadline) - monotonic()) > 0:
            try:
                self.console.read_nonblocking(timeout=left)
                latest = monotonic()
            except TIMEOUT:
                pass  # something that is watched may have ended the wait
            except EOF:
                self.closed = True
        self.monitor.finish()

    def activity(self, since: float, limit: float) -> Activity:
        """What the guest does now, which had `limit` seconds since the monotonic time `since`.

        A guest whose program goes on printing is busy, whatever its vCPUs seem to do. It is called spinning only
        if each of several observations shows that: real work that passes one place again and again looks like it
        one time in ten.
        """
        for _ in range(1 + WATCHED_AGAIN):
            seen, printed = self._watched(), self._prints(since, limit)
            if printed and seen is not Activity.UNKNOWN:
                return Activity.BUSY
            if seen is not Activity.SPINNING:
                break
        return seen

    def _prints(self, since: float, limit: float) -> bool:
        """Whether it is not silent for longer than its program was before: `RHYTHM` times the longest pause
        between two prints, or half of its limit if it printed only once. A moment is no silence."""
        start, own = self.transcript.start, self.host.own_seconds_at
        came = self.transcript.came_since(since - start, MOST_PRINTS)
        times = [own(start + at) for at, said in came if self._is_of_program(said)]
        if not times:
            return False
        longest = RHYTHM * max((b - a for a, b in pairwise(times)), default=limit / RHYTHM**2)
        return own(monotonic()) - times[-1] < max(longest, min(MOMENT, MOMENT_SHARE * limit))

    def _is_of_program(self, said: bytes) -> bool:
        for noise in self.monitor.patterns.noise:
            said = noise.sub(b"", said.replace(b"\r", b""))
        return bool(said.strip())

    def _watched(self) -> Activity:
        """From the cpu time of the vCPUs' threads, and many samples of where they are."""
        samples = [self.vm.vcpus()]
        if samples[0] and self._rests():
            return Activity.IDLE
        began, samples = monotonic(), [self.vm.vcpus()]
        while len(samples) <= SAMPLES and samples[-1]:
            self.wait_for_quiet(SAMPLE_SECONDS, SAMPLE_SECONDS)
            samples.append(self.vm.vcpus())
        if not samples[-1]:
            return Activity.UNKNOWN
        seconds = monotonic() - began
        vcpus = list(zip(*samples, strict=True))
        shares = [_share(seen, seconds) for seen in vcpus]
        if max(shares) < IDLE_SHARE:
            return Activity.IDLE
        busiest = [seen for seen, share in zip(vcpus, shares, strict=True) if share > MUCH * max(shares)]
        if any(vcpu.pc is None for seen in busiest for vcpu in seen):
            return Activity.UNKNOWN
        if not all(_stays(seen) for seen in busiest):
            return Activity.BUSY
        return Activity.IDLE if all(self._waits(seen) for seen in busiest) else Activity.SPINNING

    def _waits(self, seen: Sequence[Vcpu]) -> bool:
        """Whether the place where a vCPU mostly is is an instruction that waits for an interrupt, or behind one.

        Where the host starves a guest under KVM, its timer's interrupts alone take more than `IDLE_SHARE`.
        """
        wait = WAITS[self.machine.image.cell.arch]
        ((pc, _),) = Counter(vcpu.pc or 0 for vcpu in seen).most_common(1)
        if not isinstance(self.vm, ReadsCode):
            return False
        code = self.vm.code(seen[0].index, pc - len(wait), 2 * len(wait))
        return wait in (code[: len(wait)], code[len(wait) :])

    def _rests(self) -> bool:
        """Whether no thread of the guest's process does anything while it is not sampled.

        Under KVM a sample costs the vCPU's thread work, because it fetches hundreds of registers and restores
        them: in a lab of aarch64 0.1 to 0.3 s of a cpu, so that an idle vCPU would never be seen idle.
        """
        settled = lab_timeout(SETTLED_SECONDS)
        self.wait_for_quiet(settled, settled)
        before, began = times_of(self.vm.pid), monotonic()
        self.wait_for_quiet(REST_SECONDS, REST_SECONDS)
        after, seconds = times_of(self.vm.pid), monotonic() - began
        shares = [_share_of(before[one], after[one], seconds) for one in after.keys() & before.keys()]
        return bool(shares) and max(shares) < IDLE_SHARE

    def _look_at_host(self) -> None:
        if monotonic() - self._looked > LOOK_AGAIN:
            self._looked = monotonic()
            self.host.look()

    def _publish(self, match: Match) -> None:
        publish(f"guest.{match.kind}", str(self.machine.image.cell), f"{match.name}: {match.text}")


def _share(seen: Sequence[Vcpu], seconds: float) -> float:
    """The share of its possible time that a vCPU ran, at most 1."""
    first, last = ((one.cpu_seconds, one.waited_seconds) for one in (seen[0], seen[-1]))
    return _share_of(first, last, seconds)


def _share_of(before: tuple[float, float], after: tuple[float, float], seconds: float) -> float:
    """The same for a thread, from seconds that it ran and waited, before and after."""
    ran, waited = after[0] - before[0], after[1] - before[1]
    return ran / max(ran, seconds - waited) if ran else 0.0


def _stays(seen: Sequence[Vcpu]) -> bool:
    """Whether a vCPU was in one place whenever it had run, except for interrupts."""
    ran = (after for before, after in pairwise(seen) if after.cpu_seconds > before.cpu_seconds)
    pcs = sorted(vcpu.pc for vcpu in ran if vcpu.pc is not None)
    middle = pcs[len(pcs) // 2]
    return sum(abs(pc - middle) < SPIN_BYTES for pc in pcs) > MOST * len(pcs)
