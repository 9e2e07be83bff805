"""What was seen of one program in a guest, before anything is concluded from it."""

from dataclasses import dataclass
from enum import StrEnum

from harness.host.interference import Pause
from harness.runner.console.matcher import Match
from harness.vm.base import ExitStatus

STARVED = 0.5
"""A guest that the host kept waiting for more of its time than this is starved."""


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
    trouble: str = ""
    doing: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that was seen of one program's run, and nothing concluded from it.

    What the kernel was seen to do, where it is stopped to learn that (`traced`), else what its console says:

    - `status` is that of the programs that the command line names: the first that is not 0, or 0 if all are;
      None if one is not known. `status_from` says who told.
    - `clean_end` is whether the guest did after the program what its kernel does after one that ended well.
    - `aborted` is whether the kernel is in abort(), `abort_message` with what words, None if they can't be read;
      `fault` is where it met the exception that it died of, in words, empty if it met none;
      `signalled` is whether it turned itself off because of a signal that nobody caught, `halted` whether it
      halted.
    - `launch_failed` is whether it could not start the program, `launch_message` what it says of that.
    - `nested_exit` is the status with which a program that another had started called exit(), which ends the
      guest.

    What the console says: `faults` are the kernel's words of its death, the telling ones first; `printed_faults`
    are words like these that are not in the kernel's own log, where that was read; `root_failed` is that its root
    could not be mounted; `power_off_failed` that it could not turn the machine off; `contradiction` is what the
    console says of a status where the kernel was seen to have another.

    What the host says: `ending` is how the guest's process ended, `console_closed` whether its console did;
    `activity` is set when the limit was reached; `trouble` is a fault of the harness or its host; `limit` and
    `seconds` are in seconds; `kept_waiting` is the share of the guest's time, 0 to 1, in which it was ready to run
    and the host ran something else; `pauses` are when the host did not let it run at all; `host_effect` is what
    the host did that a watchdog of the kernel's can have taken for a stall, as a sentence goes on after "the
    host".

    What was asked for: `skip_statuses` are those by which the program says that it can't run here; `ends_by` is
    the kernel's line about the program's death where that death is what the program tests; `good_statuses` are
    those of a good end; `unprinted` is what the program should have printed and did not; `interaction` is set
    where the host interacted with the program.
    """

    booted: bool
    status: int | None = None
    status_from: str = ""
    clean_end: bool = False
    ending: ExitStatus | None = None
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
    trouble: str = ""
    limit: float = 0.0
    seconds: float = 0.0
    kept_waiting: float = 0.0
    pauses: tuple[Pause, ...] = ()
    host_effect: str = ""
    skip_statuses: tuple[int, ...] = ()
    ends_by: str = ""
    good_statuses: tuple[int, ...] = (0,)
    unprinted: tuple[str, ...] = ()
    interaction: InteractionResult | None = None

    @property
    def starved(self) -> bool:
        """Whether what the program says of times and of orders can be the host's doing."""
        return self.kept_waiting > STARVED

    @property
    def died(self) -> bool:
        """Whether the kernel died: seen to, or where nothing else is known by its words."""
        return self.aborted or self.signalled or (not self.traced and bool(self.faults))

    @property
    def disturbed(self) -> bool:
        """Whether all that the kernel reported can be the host's doing."""
        watchdogs = bool(self.faults) and all(fault.kind == "watchdog" for fault in self.faults)
        return watchdogs and bool(self.host_effect)

    @property
    def texts(self) -> tuple[Match, ...]:
        """Words like a fault's of a kernel that was not seen to die."""
        return () if self.died else (*self.faults, *self.printed_faults)
