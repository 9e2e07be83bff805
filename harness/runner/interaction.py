"""The interaction of the host with a program in its guest, in a thread beside the guest's watch."""

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
from harness.runner.observation import Activity, InteractionResult
from harness.vm.base import Endpoint, HasOwnNetwork, SupportsBallooning

THREAD_END_SECONDS = 20.0
COMMAND_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Interaction:
    """What the host does with a program, in a thread beside the guest's watch.

    Once the console has shown `line`, if one is given, `wait_ready` waits until the program answers; then `act` is
    called. `long_running` is whether the program runs until it is asked to end. `ready_limit` limits the time
    until it is ready; `act_limit` limits an interaction with a long-running program from then on; both are in
    seconds of the guest's own time. The program's limit starts when it is asked to end or, if it ends by itself,
    when it is ready.
    """

    act: Callable[["GuestClient"], None]
    wait_ready: Callable[["GuestClient"], None] = lambda client: None
    line: str = ""
    ready_limit: float = 60.0
    act_limit: float = 60.0
    long_running: bool = True


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The result of a command inside the guest."""

    status: int
    output: bytes
    errors: bytes


GuestCommand = Callable[[str, Callable[[CommandResult], None]], None]
"""Runs a shell command in the guest, and calls back with its result."""


class GuestClient:
    """The host's side of the interaction with one guest; its methods are called by the interaction's thread.

    `ports` are the host ports behind the forwarded guest ports, `pid` is the hypervisor's process. `gone` is set
    once the guest is dead: stop waiting for answers then. `doing` says in words what the client did last.
    """

    def __init__(
        self,
        guest: Guest,
        interaction: Interaction,
        end: Callable[[], None],
        run_in_guest: GuestCommand | None = None,
    ) -> None:
        self.ports: Mapping[int, int] = guest.vm.ports()
        self.pid = guest.vm.pid
        self._vm = guest.vm
        self.gone = threading.Event()
        self._started = guest.transcript.start
        self.doing = ""
        self._interaction = interaction
        self._end = end
        self._run_in_guest = run_in_guest
        self._wake = -1
        self._lock = threading.Lock()
        self._requests: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._thread = threading.Thread(target=self._act, daemon=True)
        self._mismatches: list[str] = []
        self._error = ""
        self._ready = False
        self._end_requested = False

    def endpoint(self, port: int) -> Endpoint:
        """Where a load reaches the guest's port: without our forwarder, which is slower than the guest."""
        own_endpoint = self._vm.endpoint(port) if isinstance(self._vm, HasOwnNetwork) else None
        return own_endpoint or Endpoint("127.0.0.1", self.ports[port])

    @property
    def seconds(self) -> float:
        """Seconds since the hypervisor's process was started."""
        return monotonic() - self._started

    def report_mismatch(self, what: str) -> None:
        """Report that the program did something wrong; `what` may quote a guest."""
        self._mismatches.append(_safe(what))

    def report_error(self, what: str) -> None:
        """Report an error of our own, after which nothing can be said about the program. It is ignored once the
        guest is dead: then its end counts."""
        if not self.gone.is_set():
            self._error = self._error or _safe(what)

    @property
    def can_run_commands(self) -> bool:
        """Whether commands can be run in the guest."""
        return self._run_in_guest is not None

    def run_command(self, command: str) -> CommandResult:
        """Run a shell command in the guest, beside the program. Raises `HarnessError` if it is not answered."""
        run_in_guest, answers = self._run_in_guest, SimpleQueue[CommandResult]()
        if run_in_guest is None:
            raise HarnessError("No command can be run in this guest.")
        self._queue(lambda: run_in_guest(command, answers.put))
        until = monotonic() + COMMAND_SECONDS
        while not self.gone.is_set() and monotonic() < until:
            with suppress(Empty):
                return answers.get(timeout=0.2)
        raise HarnessError(f"The guest did not answer {command!r} within {COMMAND_SECONDS:.0f} s.")

    def set_memory(self, mib: int) -> None:
        """Ask the guest, through its balloon, to use only so many MiB."""
        vm = self._vm
        if not isinstance(vm, SupportsBallooning):
            raise HarnessError("This guest has no balloon.")
        self._queue(lambda: vm.set_balloon(mib))

    def request_end(self) -> None:
        """Ask the guest to end, in the way of its kernel."""
        self._end_requested = True
        self._queue(self._end)

    def result(self) -> InteractionResult:
        """The result of the interaction."""
        return InteractionResult(
            self._ready,
            self._end_requested,
            self._interaction.long_running,
            tuple(self._mismatches),
            self._error,
            _safe(self.doing),
        )

    def watch(self, guest: Guest, over: Callable[[], bool], limit: float) -> Activity | None:
        """Interact until the guest is over; returns its activity if its time was over first."""

        def wait_for_end() -> Activity | None:
            if self._interaction.long_running:
                late = guest.wait_within(lambda: self._end_requested or over(), self._interaction.act_limit)
                if late:
                    seconds = self._interaction.act_limit
                    self.report_error(f"the interaction took more than {seconds:.0f} s: it {self.doing}")
                    return late
            return guest.wait_within(over, limit)

        return self._watch(guest, over, wait_for_end)

    def watch_until_ready(self, guest: Guest, over: Callable[[], bool]) -> Activity | None:
        """Interact until the program is ready, or the guest is over."""
        return self._watch(guest, over, lambda: None)

    def _watch(
        self, guest: Guest, over: Callable[[], bool], then: Callable[[], Activity | None]
    ) -> Activity | None:
        line = self._interaction.line.encode()
        self._wake = os.eventfd(0)
        guest.console.watched[self._wake] = self._run_queued
        try:
            if line:
                guest.monitor.expect(line)
                late = guest.wait_within(lambda: guest.monitor.saw(line) or over(), self._interaction.ready_limit)
                if late or over():
                    return late
            self._thread.start()
            late = guest.wait_within(lambda: self._ready or over(), self._interaction.ready_limit)
            return late or then()
        finally:
            guest.console.watched.pop(self._wake)
            with self._lock:
                self.gone.set()
                os.close(self._wake)
            if self._thread.ident:
                self._thread.join(THREAD_END_SECONDS)

    def _act(self) -> None:
        try:
            self._interaction.wait_ready(self)
            if self.gone.is_set():
                return
            self._set_ready()
            self._interaction.act(self)
        except HarnessError as error:
            self.report_error(str(error))
        except Exception as error:  # an error of ours: the guest's watch must go on
            self.report_error(
                f"the harness failed while it {self.doing or 'interacted with the guest'}: {error!r}"
            )
        if self._error:
            self._set_ready()
            self.request_end()

    def _set_ready(self) -> None:
        self._ready = True
        self._queue(lambda: None)

    def _queue(self, request: Callable[[], None]) -> None:
        self._requests.put(request)
        with self._lock:
            if not self.gone.is_set():
                os.eventfd_write(self._wake, 1)

    def _run_queued(self) -> bool:
        os.eventfd_read(self._wake)
        while not self._requests.empty():
            self._requests.get()()
        return True


def _safe(text: str) -> str:
    """Text that is safe to show, line by line."""
    return "\n".join(printable_lines(text))
