"""A running guest: its console, its process, and waiting for the first thing that ends a wait."""

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
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
from harness.verdict import Activity

SAMPLES, SAMPLE_SECONDS = 6, 0.1
SPIN_BYTES = 256
IDLE_SHARE = 0.05
MUCH = 0.3  # of what the busiest vCPU wants: an idle one serves timers
WORTH_WAITING = 0.02


class Guest(AbstractContextManager["Guest"]):
    """One virtual machine with its console. Leaving its context ends it and leaves nothing behind."""

    def __init__(self, machine: Machine, vm: Vm, started: float) -> None:
        self.machine = machine
        self.vm = vm
        self.transcript = Transcript(started)
        self.monitor = Monitor(patterns_of(machine.image.cell.kernel), self._publish)
        self.console = SerialConsole(vm.console, self.transcript, self.monitor)
        self.closed = False

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
                continue
            except EOF:
                self.closed = True
                self.monitor.finish()
                return done()
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

    def visit(
        self, line: str, act: Callable[[Mapping[int, int]], None], over: Callable[[], bool], deadline: float
    ) -> None:
        """Wait for the line, then start `act` in a thread with the forwarded ports; it ends with the guest."""
        text = line.encode()
        self.monitor.expect(text)
        if self.wait(lambda: self.monitor.saw(text) or over(), deadline) and self.monitor.saw(text):
            threading.Thread(target=act, args=(self.vm.ports(),), daemon=True).start()

    def activity(self) -> Activity:
        """What the vCPUs do now, from their threads' cpu time and a few looks at where they are."""
        began = monotonic()
        samples = [self.vm.vcpus()]
        while len(samples) <= SAMPLES and samples[-1]:
            self.wait_for_quiet(SAMPLE_SECONDS, SAMPLE_SECONDS)
            samples.append(self.vm.vcpus())
        if not samples[-1]:
            return Activity.UNKNOWN
        wanted = [_wanted(last) - _wanted(first) for first, last in zip(samples[0], samples[-1], strict=True)]
        if max(wanted) <= IDLE_SHARE * (monotonic() - began):
            return Activity.IDLE
        busiest = [index for index, seconds in enumerate(wanted) if seconds > MUCH * max(wanted)]
        places = [[sample[index].pc for sample in samples] for index in busiest]
        return Activity.SPINNING if all(_is_one_place(pcs) for pcs in places) else Activity.BUSY

    def _publish(self, match: Match) -> None:
        publish(f"guest.{match.kind}", str(self.machine.image.cell), f"{match.name}: {match.text}")


def _wanted(vcpu: Vcpu) -> float:
    """Seconds for which a vCPU had something to do, whether the host let it or not."""
    return vcpu.cpu_seconds + vcpu.waited_seconds


def _is_one_place(pcs: list[int]) -> bool:
    """Whether a vCPU was always there, but for an interrupt that may have been served."""
    middle = sorted(pcs)[len(pcs) // 2]
    return sum(abs(pc - middle) < SPIN_BYTES for pc in pcs) >= len(pcs) - 1
