"""A running guest: its console, its process, and waiting for the first thing that ends a wait."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from time import monotonic
from types import TracebackType

from pexpect import EOF, TIMEOUT

from harness.console.monitor import Match, Monitor
from harness.console.patterns import patterns_of
from harness.console.transcript import Transcript
from harness.console.transport import SerialConsole
from harness.events import publish
from harness.hypervisors import Vcpu, Vm
from harness.machine import Machine
from harness.patience import kept_waiting
from harness.verdict import Activity

SAMPLES, SAMPLE_SECONDS = 30, 0.02
SPIN_BYTES = 64  # to either side
WATCHED_AGAIN = 2
MOST = 2 / 3  # of the looks at a vCPU; a loop of real work, the body of a checksum even, has less in one place
IDLE_SHARE = 0.05
MUCH = 0.3  # of what the busiest vCPU does: an idle one serves timers
WORTH_WAITING = 0.02
LOOK_AGAIN = 0.1
"""Seconds between two looks at what the host let the guest have, taken when the guest was heard of anyway."""


class Guest(AbstractContextManager["Guest"]):
    """One virtual machine with its console. Leaving its context ends it and leaves nothing behind."""

    def __init__(self, machine: Machine, vm: Vm) -> None:
        self.machine = machine
        self.vm = vm
        self.transcript = Transcript(vm.started)
        self.monitor = Monitor(patterns_of(machine.image.cell.kernel), self._publish)
        self.console = SerialConsole(vm.console, self.transcript, self.monitor)
        self.closed = False
        self.kept_waiting = 0.0
        """The share of its time in which it was ready to run and the host ran something else, 0 to 1."""
        self._looked = 0.0

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.vm.close()

    def wait(self, done: Callable[[], bool], deadline: float) -> bool:
        """Read the console until `done`, the console's end (then `closed`), or the monotonic `deadline`.

        Returns whether it was `done`. Nothing is polled: `done` is asked after bytes came, or after
        something in `console.watched` happened.
        """
        while not done():
            left = deadline - monotonic()
            if left <= 0:
                return False
            try:
                self.console.read_nonblocking(timeout=left)
            except TIMEOUT:
                pass
            except EOF:
                self.closed = True
                self.monitor.finish()
                return done()
            self._look_at_host()
        return True

    def wait_within(self, done: Callable[[], bool], limit: float) -> Activity | None:
        """Wait until `done` or the console's end, for which it returns None; at most `limit` seconds.

        The limit is of the guest's own time: what it was ready to run but the host ran something else is
        added, so that a busy host makes a test late and not wrong. Otherwise returns what the guest did
        when its time was over.
        """
        deadline = monotonic() + limit
        granted = 0.0
        while not (self.wait(done, deadline) or self.closed):
            waited = max((vcpu.waited_seconds for vcpu in self.vm.vcpus()), default=0.0)
            if waited - granted < WORTH_WAITING * limit:
                return self.activity()
            deadline = monotonic() + waited - granted
            granted = waited
        return None

    def wait_for_quiet(self, quiet: float, longest: float) -> None:
        """Read what still comes until nothing has come for `quiet` seconds, at most `longest` seconds."""
        deadline = monotonic() + longest
        while not self.closed and (left := deadline - monotonic()) > 0:
            try:
                self.console.read_nonblocking(timeout=min(quiet, left))
            except TIMEOUT:
                break
            except EOF:
                self.closed = True
        self.monitor.finish()

    def activity(self) -> Activity:
        """What the vCPUs do now. That they spin is said only if they do each time that they are watched: real work
        that comes by one place again and again is taken for it one time in ten."""
        for _ in range(WATCHED_AGAIN):
            if (seen := self._watched()) is not Activity.SPINNING:
                return seen
        return self._watched()

    def _watched(self) -> Activity:
        """From the cpu time of the vCPUs' threads, and many looks at where they are."""
        began = monotonic()
        samples = [self.vm.vcpus()]
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
        return Activity.SPINNING if all(_stays(seen) for seen in busiest) else Activity.BUSY

    def _look_at_host(self) -> None:
        if monotonic() - self._looked > LOOK_AGAIN:
            self._looked = monotonic()
            self.kept_waiting = kept_waiting(self.vm.pid) or self.kept_waiting

    def _publish(self, match: Match) -> None:
        publish(f"guest.{match.kind}", str(self.machine.image.cell), f"{match.name}: {match.text}")


def _share(seen: Sequence[Vcpu], seconds: float) -> float:
    """How much a vCPU ran of the time that the host let it, at most 1."""
    ran = seen[-1].cpu_seconds - seen[0].cpu_seconds
    waited = seen[-1].waited_seconds - seen[0].waited_seconds
    return ran / max(ran, seconds - waited) if ran else 0.0


def _stays(seen: Sequence[Vcpu]) -> bool:
    """Whether a vCPU was in one place whenever it had run, but for the interrupts that it served."""
    ran = (after for before, after in pairwise(seen) if after.cpu_seconds > before.cpu_seconds)
    pcs = sorted(vcpu.pc for vcpu in ran if vcpu.pc is not None)
    middle = pcs[len(pcs) // 2]
    return sum(abs(pc - middle) < SPIN_BYTES for pc in pcs) > MOST * len(pcs)
