"""What was observed of one program in a guest, before anything is concluded."""

from dataclasses import dataclass
from enum import StrEnum

from harness.host.interference import Pause
from harness.runner.console.matcher import Match
from harness.vm.base import ExitStatus

STARVED = 0.5
"""A guest that waited for the host for more than this share of its time is starved."""
LATE_SECONDS = 0.1
"""So is one that hardly wants a cpu, but waited longer for it than it had it, and for more than tests tolerate:
tst-timerfd.so is lost by that. One that sleeps until deadlines is late after so long a wait, whatever it had."""


class Activity(StrEnum):
    """What a guest's vCPUs did when its time was over."""

    IDLE = "idle"
    SPINNING = "spinning"
    BUSY = "busy"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class InteractionResult:
    """The result of an interaction: whether the program became ready, whether it was asked to end, whether it runs
    until then, its mismatches, an error of our own, and what the client did last."""

    ready: bool
    end_requested: bool
    long_running: bool = True
    mismatches: tuple[str, ...] = ()
    harness_error: str = ""
    doing: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that was observed of one program's run, without any conclusion.

    What the kernel did, if it is stopped to find that out (`traced`), else what its console says:

    - `status` is that of the programs on the command line: the first that is not 0, or 0 if all are; None if one
      is unknown. `status_from` names its source.
    - `clean_end` is whether the guest did after the program what its kernel does after one that ended well.
    - `aborted` is whether the kernel is in abort(). `abort_message` is its message, None if it can't be read.
    - `fault` is where the fatal exception happened, in words; empty if there was none.
    - `signalled` is whether the kernel powered off because of an uncaught signal, `halted` whether it halted.
    - `launch_failed` is whether the kernel could not start the program. `launch_message` is its reason.
    - `nested_exit` is the status of an exit() by a program that another program started: it ends the guest.

    What the console shows:

    - `faults` are the kernel's reports of its death, the most specific first. `printed_faults` are similar texts
      that are not in the kernel's own log, if that was read.
    - `root_failed` is why its root could not be mounted, `power_off_failed` why it could not power off.
    - `contradiction` is a status on the console that differs from the kernel's.

    What the host knows:

    - `exit_status` is how the guest's process ended, `console_closed` whether its console was closed.
    - `activity` is set if the limit was reached.
    - `harness_error` is an error of the harness or its host.
    - `limit` and `seconds` are in seconds. `kept_waiting` is the share of the guest's time, 0 to 1, in which it
      was ready to run and the host ran something else, `steal` the same of the time in which it was ready.
      `pauses` are when the host did not let it run at all.
    - `host_effect` is what the host did that a watchdog of the kernel may have taken for a stall, in words that
      continue "the host".

    What was asked for:

    - `skip_statuses` are statuses by which the program says that it can't run here. `good_statuses` are those of a
      good end.
    - `ends_by` is the kernel's line about the program's death, if that death is what the program tests.
    - `unprinted` is what the program should have printed and did not. `denial` is the line by which it says that
      it has failed, `skip` the one by which it says that it can't run here.
    - `interaction` is set if the host interacted with the program.
    """

    booted: bool
    status: int | None = None
    status_from: str = ""
    clean_end: bool = False
    exit_status: ExitStatus | None = None
    console_closed: bool = False
    traced: bool = False
    aborted: bool = False
    abort_message: str | None = None
    signalled: bool = False
    fault: str = ""
    halted: bool = False
    launch_failed: bool = False
    launch_message: str = ""
    nested_exit: int | None = None
    faults: tuple[Match, ...] = ()
    printed_faults: tuple[Match, ...] = ()
    root_failed: str = ""
    power_off_failed: str = ""
    contradiction: str = ""
    activity: Activity | None = None
    harness_error: str = ""
    limit: float = 0.0
    seconds: float = 0.0
    kept_waiting: float = 0.0
    steal: float = 0.0
    pauses: tuple[Pause, ...] = ()
    host_effect: str = ""
    skip_statuses: tuple[int, ...] = ()
    ends_by: str = ""
    good_statuses: tuple[int, ...] = (0,)
    unprinted: tuple[str, ...] = ()
    denial: str = ""
    skip: str = ""
    interaction: InteractionResult | None = None

    @property
    def starved(self) -> bool:
        """Whether what the program says about times and orders may be caused by the host."""
        return self.kept_waiting > STARVED or (self.steal > STARVED and self.late)

    @property
    def late(self) -> bool:
        """Whether the program may have missed a deadline because of the host."""
        return self.kept_waiting * self.seconds > LATE_SECONDS

    @property
    def died(self) -> bool:
        """Whether the kernel died: as observed or, if nothing else is known, by its messages."""
        return self.aborted or self.signalled or (not self.traced and bool(self.faults))

    @property
    def disturbed(self) -> bool:
        """Whether everything that the kernel reported may be caused by the host."""
        watchdogs = bool(self.faults) and all(fault.kind == "watchdog" for fault in self.faults)
        return watchdogs and bool(self.host_effect)

    @property
    def texts(self) -> tuple[Match, ...]:
        """Texts like a fault's, of a kernel that was not observed to die."""
        return () if self.died else (*self.faults, *self.printed_faults)
