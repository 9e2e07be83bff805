"""What became of one program in a guest: decided here, once, from what was observed."""

from dataclasses import dataclass, field
from enum import StrEnum

from harness.console.monitor import Match
from harness.console.transcript import Line
from harness.host_effects import Pause
from harness.hypervisors import Cause, Ending

STARVED = 0.5
"""A guest that the host kept waiting for more of its time than this is starved."""


class Outcome(StrEnum):
    """Everything that can become of a test."""

    PASSED = "passed"
    FAILED = "failed"
    CRASHED = "crashed"
    HUNG = "hung"
    TIMED_OUT = "timed_out"
    GUEST_ENDED = "guest_ended"
    BOOT_FAILED = "boot_failed"
    HARNESS_ERROR = "harness_error"
    SKIPPED = "skipped"
    FLAKY = "flaky"


class Activity(StrEnum):
    """What a guest's vCPUs did when its time was over."""

    IDLE = "idle"
    SPINNING = "spinning"
    BUSY = "busy"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Visited:
    """What came of a visit: whether the program got ready, whether it was asked to end, whether it was to run
    until then, what it did wrong, what of ours failed meanwhile, and what the visitor did last."""

    ready: bool
    asked_to_end: bool
    serves: bool = True
    complaints: tuple[str, ...] = ()
    trouble: str = ""
    doing: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything that was seen of one program's run, and nothing concluded from it.

    `status` is the outer program's own, by `status_from`; `clean_end` is whether the guest did after the
    program what its kernel does after one that ended well; `limit` and `seconds` are in seconds; `faults`
    are the kernel's words on the console, the telling ones first; `aborted` is what the kernel itself was
    seen to abort with; `activity` is set when the limit was reached; `trouble` is a fault of the harness or
    its host; `skip_statuses` are those by which the program says that it can't run here; `faults_are_final`
    is whether every fault ends this kernel, so that one that went on to end cleanly had none; `ends_by` is
    the kernel's line about the program's death where that death is what the program tests; `good_statuses` are
    those of a good end; `unprinted` is what the program should have printed and did not; `visited` is set where
    the host visited the program; `kept_waiting` is the share of the guest's time, 0 to 1, in which it was ready to
    run and the host ran something else; `printed_faults` is text like a kernel's faults that its own log does not
    have; `host_effect` is what the host did that a watchdog of the kernel's could take for a stall, as a sentence
    goes on after "the host"; `pauses` are when it did not let the guest run at all."""

    booted: bool
    status: int | None = None
    status_from: str = ""
    clean_end: bool = False
    ending: Ending | None = None
    faults: tuple[Match, ...] = ()
    load_failed: str = ""
    halted: bool = False
    aborted: str = ""
    activity: Activity | None = None
    trouble: str = ""
    limit: float = 0.0
    seconds: float = 0.0
    skip_statuses: tuple[int, ...] = ()
    faults_are_final: bool = False
    ends_by: str = ""
    good_statuses: tuple[int, ...] = (0,)
    unprinted: tuple[str, ...] = ()
    visited: Visited | None = None
    kept_waiting: float = 0.0
    printed_faults: tuple[Match, ...] = ()
    host_effect: str = ""
    pauses: tuple[Pause, ...] = ()

    @property
    def starved(self) -> bool:
        """Whether what the program says of times and of orders can be the host's doing."""
        return self.kept_waiting > STARVED

    @property
    def disturbed(self) -> bool:
        """Whether all that the kernel reported can be the host's doing."""
        watchdogs = bool(self.faults) and all(fault.kind == "watchdog" for fault in self.faults)
        return watchdogs and bool(self.host_effect)


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome, the one sentence that a person reads first, and what it rests on."""

    outcome: Outcome
    reason: str
    observation: Observation
    lines: tuple[Line, ...] = field(default=())


def judge(seen: Observation) -> tuple[Outcome, str]:
    """The outcome of an observation, and why. A pass needs positive proof; a fault beats everything."""
    if seen.disturbed:
        return (
            Outcome.HARNESS_ERROR,
            f"the host {seen.host_effect}, and the kernel's watchdog saw it: {_told(seen)}",
        )
    if seen.faults or seen.aborted:
        return _judge_fault(seen)
    if trouble := seen.trouble or (seen.visited.trouble if seen.visited else ""):
        return Outcome.HARNESS_ERROR, trouble
    if seen.ending and seen.ending.cause in (Cause.KILLED, Cause.REFUSED):
        return Outcome.HARNESS_ERROR, f"the hypervisor ended by itself: {seen.ending.detail}"
    if not seen.booted:
        return Outcome.BOOT_FAILED, f"the kernel never started the program: {_how_it_ended(seen)}"
    if seen.load_failed:
        return Outcome.FAILED, f"the kernel could not start the program: {seen.load_failed}"
    if seen.status is not None and seen.status in seen.skip_statuses:
        return Outcome.SKIPPED, f"the program says that it can't run here (status {seen.status})"
    if seen.status is not None and seen.status not in seen.good_statuses:
        return Outcome.FAILED, f"the program ended with status {seen.status}{_meanwhile(seen)}"
    if seen.visited and seen.visited.serves:
        return _judge_visited(seen, seen.visited)
    if seen.status is not None and seen.clean_end and seen.unprinted:
        return Outcome.FAILED, f"it ended well, but did not print {seen.unprinted[0]!r}"
    if seen.status is not None and seen.clean_end:
        return Outcome.PASSED, f"the program ended with status {seen.status} and the guest ended cleanly"
    if seen.activity:
        return _judge_late(seen)
    return Outcome.GUEST_ENDED, f"the guest ended before its time: {_how_it_ended(seen)}"


def _judge_visited(seen: Observation, visited: Visited) -> tuple[Outcome, str]:
    """A program that serves: its answers count, and that it ends when it is asked to, and not before."""
    if not visited.ready and seen.activity:
        outcome, reason = _judge_late(seen)
        return outcome, f"the program never got ready: {reason}"
    ended = seen.status is not None or seen.ending is not None
    if ended and not visited.asked_to_end:
        how = f"with status {seen.status}" if seen.status is not None else _how_it_ended(seen)
        return Outcome.GUEST_ENDED, f"the program ended before it was asked to: {how}{_meanwhile(seen)}"
    if visited.complaints:
        more = f" (and {len(visited.complaints) - 1} more)" if len(visited.complaints) > 1 else ""
        return Outcome.FAILED, f"{visited.complaints[0]}{more}"
    if seen.unprinted:
        return Outcome.FAILED, f"it answered rightly, but did not print {seen.unprinted[0]!r}"
    if seen.clean_end:
        return Outcome.PASSED, "the program answered rightly to the end, and ended when it was asked to"
    if seen.ending and seen.ending.cause is Cause.STOPPED:
        return (
            Outcome.PASSED,
            "the program answered rightly until it was stopped; this guest can't be asked to end",
        )
    if seen.activity:
        outcome, reason = _judge_late(seen)
        return outcome, f"the program did not end when it was asked to: {reason}"
    return Outcome.GUEST_ENDED, f"the guest did not end as asked: {_how_it_ended(seen)}"


def _meanwhile(seen: Observation) -> str:
    return f", while the host {seen.visited.doing}" if seen.visited and seen.visited.doing else ""


def _judge_fault(seen: Observation) -> tuple[Outcome, str]:
    if seen.ends_by and [fault.text for fault in seen.faults] == [seen.ends_by] and seen.ending:
        return Outcome.PASSED, f"the kernel ended the program as it tests: {seen.ends_by}"
    gave_up = seen.halted or bool(seen.aborted)
    if seen.faults_are_final and seen.clean_end and seen.status is not None and not gave_up:
        # The kernel itself was seen to run the program to its end and to power off after this text came:
        # it did not die, so a program printed it.
        if seen.status == 0:
            return Outcome.PASSED, "status 0 and a clean end; text like a kernel's fault came from the program"
        return Outcome.FAILED, f"the program ended with status {seen.status}"
    text = _told(seen)
    if not seen.booted:
        return Outcome.BOOT_FAILED, text
    return Outcome.CRASHED, f"{text}{_meanwhile(seen)}"


def _told(seen: Observation) -> str:
    """What the kernel said of its death; what it prints can be torn by another thread's words, or be missing."""
    told = [fault for fault in seen.faults if fault.kind != "trace" or not seen.aborted]
    return f"{told[0].name}: {told[0].text.strip()}" if told else f"abort: {seen.aborted}"


def _judge_late(seen: Observation) -> tuple[Outcome, str]:
    after = " after the program's status 0" if seen.status == 0 else ""
    if seen.activity is Activity.IDLE:
        return Outcome.HUNG, f"nothing ran any more when the limit of {seen.limit:.0f} s was reached{after}"
    if seen.activity is Activity.SPINNING:
        return Outcome.HUNG, f"a vCPU spun in one place when the limit of {seen.limit:.0f} s was reached{after}"
    return Outcome.TIMED_OUT, f"still running when the limit of {seen.limit:.0f} s was reached{after}"


def _how_it_ended(seen: Observation) -> str:
    if seen.halted:
        return "the kernel halted"
    if seen.ending:
        return {
            Cause.POWERED_OFF: "it powered off",
            Cause.RESET: "it was reset, which is also what a triple fault does",
            Cause.PANICKED: "it reported a panic",
        }.get(seen.ending.cause, seen.ending.detail)
    if seen.activity:
        return f"it was {seen.activity} when the limit of {seen.limit:.0f} s was reached"
    return "its console was closed"
