"""What the host does with a program while it runs in its guest, in a thread beside the guest's watch."""

import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import monotonic

from harness.core.errors import HarnessError
from harness.core.text import printable_lines
from harness.runner.guest import Guest
from harness.runner.observation import Activity, Visited
from harness.vm.base import Endpoint, HasOwnNetwork, SupportsBallooning

LEAVING_SECONDS = 20.0
INSIDE_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """First `get_ready` is called, which waits until the program answers, and then `act`, both in a thread beside
    the guest's watch, once the console has shown `line` where one is given.

    `serves` is whether the program runs until it is asked to end. `ready_limit` bounds the time until it is ready,
    `act_limit` how long a visit of one that serves may take from then, in seconds of the guest's own time; the
    program's limit counts from when it was asked to end, or, if it ends by itself, from when it was ready.
    """

    act: Callable[["GuestClient"], None]
    get_ready: Callable[["GuestClient"], None] = lambda visitor: None
    line: str = ""
    ready_limit: float = 60.0
    act_limit: float = 60.0
    serves: bool = True


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command inside the guest came to."""

    status: int
    output: bytes
    errors: bytes


Inside = Callable[[str, Callable[[CommandResult], None]], None]
"""Has a shell command run in the guest, and its end told."""


class GuestClient:
    """The visiting side of one guest. Its methods are called by the visit's thread.

    `ports` are the host ports behind the forwarded guest ports, `pid` is the hypervisor's process, and `gone` is
    set once the guest is dead: who waits for an answer may give up then.
    """

    def __init__(
        self, guest: Guest, visit: Interaction, end: Callable[[], None], inside: Inside | None = None
    ) -> None:
        self.ports: Mapping[int, int] = guest.vm.ports()
        self.pid = guest.vm.pid
        self._vm = guest.vm
        self.gone = threading.Event()
        self._started = guest.transcript.start
        self.doing = ""
        self._visit = visit
        self._end = end
        self._inside = inside
        self._wake = -1
        self._lock = threading.Lock()
        self._requests: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._thread = threading.Thread(target=self._act, daemon=True)
        self._complaints: list[str] = []
        self._trouble = ""
        self._ready = False
        self._asked_to_end = False

    def place(self, port: int) -> Endpoint:
        """Where a load reaches the guest's port: without our forwarder, which is slower than the guest."""
        apart = self._vm.place(port) if isinstance(self._vm, HasOwnNetwork) else None
        return apart or Endpoint("127.0.0.1", self.ports[port])

    @property
    def seconds(self) -> float:
        """How long ago the hypervisor's process was started."""
        return monotonic() - self._started

    def complain(self, what: str) -> None:
        """The program did something wrong; `what` may quote a guest."""
        self._complaints.append(_safe(what))

    def report_trouble(self, what: str) -> None:
        """Something of ours failed, so that nothing can be said of the program; its own end comes before that."""
        if not self.gone.is_set():
            self._trouble = self._trouble or _safe(what)

    @property
    def sees_inside(self) -> bool:
        """Whether commands can be run in the guest."""
        return self._inside is not None

    def run_inside(self, command: str) -> CommandResult:
        """Run a shell command in the guest, beside the program. Raises `HarnessError` if it has no answer."""
        inside, answers = self._inside, SimpleQueue[CommandResult]()
        if inside is None:
            raise HarnessError("No command can be run in this guest.")
        self._ask(lambda: inside(command, answers.put))
        until = monotonic() + INSIDE_SECONDS
        while not self.gone.is_set() and monotonic() < until:
            with suppress(Empty):
                return answers.get(timeout=0.2)
        raise HarnessError(f"The guest did not answer {command!r} within {INSIDE_SECONDS:.0f} s.")

    def set_memory(self, mib: int) -> None:
        """Have the guest asked to be content with so many MiB, through its balloon."""
        vm = self._vm
        if not isinstance(vm, SupportsBallooning):
            raise HarnessError("This guest has no balloon.")
        self._ask(lambda: vm.set_balloon(mib))

    def ask_to_end(self) -> None:
        """Have the guest asked to end, in the way of its kernel."""
        self._asked_to_end = True
        self._ask(self._end)

    def result(self) -> Visited:
        """What came of the visit."""
        return Visited(
            self._ready,
            self._asked_to_end,
            self._visit.serves,
            tuple(self._complaints),
            self._trouble,
            _safe(self.doing),
        )

    def watch(self, guest: Guest, over: Callable[[], bool], limit: float) -> Activity | None:
        """Visit until the guest is over; what it did when its time was over, if it was not."""

        def see_it_end() -> Activity | None:
            if self._visit.serves:
                late = guest.wait_within(lambda: self._asked_to_end or over(), self._visit.act_limit)
                if late:
                    self.report_trouble(f"the visit took more than {self._visit.act_limit:.0f} s: it {self.doing}")
                    return late
            return guest.wait_within(over, limit)

        return self._watch(guest, over, see_it_end)

    def watch_until_ready(self, guest: Guest, over: Callable[[], bool]) -> Activity | None:
        """Visit until the program is ready, or the guest is over."""
        return self._watch(guest, over, lambda: None)

    def _watch(
        self, guest: Guest, over: Callable[[], bool], then: Callable[[], Activity | None]
    ) -> Activity | None:
        line = self._visit.line.encode()
        self._wake = os.eventfd(0)
        guest.console.watched[self._wake] = self._serve
        try:
            if line:
                guest.monitor.expect(line)
                late = guest.wait_within(lambda: guest.monitor.saw(line) or over(), self._visit.ready_limit)
                if late or over():
                    return late
            self._thread.start()
            late = guest.wait_within(lambda: self._ready or over(), self._visit.ready_limit)
            return late or then()
        finally:
            guest.console.watched.pop(self._wake)
            with self._lock:
                self.gone.set()
                os.close(self._wake)
            if self._thread.ident:
                self._thread.join(LEAVING_SECONDS)

    def _act(self) -> None:
        try:
            self._visit.get_ready(self)
            if self.gone.is_set():
                return
            self._found_ready()
            self._visit.act(self)
        except HarnessError as error:
            self.report_trouble(str(error))
        except Exception as error:  # whatever it was, it is ours, and the guest's watch must go on
            self.report_trouble(f"the harness failed while it {self.doing or 'visited the guest'}: {error!r}")
        if self._trouble:
            self._found_ready()
            self.ask_to_end()

    def _found_ready(self) -> None:
        self._ready = True
        self._ask(lambda: None)

    def _ask(self, request: Callable[[], None]) -> None:
        self._requests.put(request)
        with self._lock:
            if not self.gone.is_set():
                os.eventfd_write(self._wake, 1)

    def _serve(self) -> bool:
        os.eventfd_read(self._wake)
        while not self._requests.empty():
            self._requests.get()()
        return True


def _safe(text: str) -> str:
    return "\n".join(printable_lines(text))
