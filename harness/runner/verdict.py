"""The verdict on one program in a guest: decided here, once, from the observation."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum

from harness.runner.console.transcript import Line
from harness.runner.failure_titles import identity
from harness.runner.observation import Activity, InteractionResult, Observation
from harness.vm.base import ExitCause

BARE_ABORT = "Aborted"
"""What abort() prints without a message. Source: OSv's runtime.cc."""


class Outcome(StrEnum):
    """The possible outcomes of a test."""

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
    REUSED = "reused"
    """It was not run: an earlier verdict on the same thing stands."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """An outcome, its reason in one sentence, and the observation behind it."""

    outcome: Outcome
    reason: str
    observation: Observation
    lines: tuple[Line, ...] = field(default=())

    @property
    def identity(self) -> str:
        """Outcome and title: equal for failures with one cause."""
        return identity(self.outcome, self.reason)


OutcomeAndReason = tuple[Outcome, str]


def judge(seen: Observation) -> OutcomeAndReason:
    """The outcome of an observation, and why: the first row of `PRECEDENCE` that gives one.

    A pass requires that all sources agree: the kernel's status, what the console says of it, how the guest ended.
    """
    for row in PRECEDENCE:
        if judged := row(seen):
            return judged
    return Outcome.GUEST_ENDED, f"the guest ended before its time: {_how_it_ended(seen)}{_text(seen)}"


def _died_as_tested(seen: Observation) -> OutcomeAndReason | None:
    """The program tests that the kernel ends it; the kernel did, said so, and nothing else."""
    as_tested = bool(seen.ends_by) and [fault.text for fault in seen.faults] == [seen.ends_by]
    if as_tested and seen.exit_status and (seen.signalled or not seen.traced):
        return Outcome.PASSED, f"the kernel ended the program as it tests: {seen.ends_by}"
    return None


def _disturbed(seen: Observation) -> OutcomeAndReason | None:
    """A watchdog of the kernel fired after the host did what makes it fire."""
    if not seen.disturbed:
        return None
    text = seen.faults[0].text.strip()
    return Outcome.HARNESS_ERROR, f"the host {seen.host_effect}, and the kernel's watchdog saw it: {text}"


def _died(seen: Observation) -> OutcomeAndReason | None:
    """The kernel died. Another thread's output can tear its messages, so the message inside abort() comes
    first."""
    if not seen.died:
        return None
    exceptions = [fault for fault in seen.faults if fault.kind == "fault"]
    message = seen.abort_message
    if message and not (exceptions and message == BARE_ABORT):
        names = (fault.name for fault in exceptions if message in fault.text or fault.text in message)
        text = f"{next(names, 'abort')}: {message}"
    elif exceptions or not (seen.aborted or seen.signalled):
        first = (exceptions or seen.faults)[0]
        text = f"{first.name}: {first.text.strip()}"
    elif seen.aborted:
        text = "abort: without a message" if message == "" else "abort: its message can't be read"
    else:
        text = "a signal that nobody caught"
    outcome = Outcome.CRASHED if seen.booted else Outcome.BOOT_FAILED
    where = f" ({seen.fault})" if seen.fault else ""
    return outcome, f"{text}{where}{_meanwhile(seen)}"


def _harness_failed(seen: Observation) -> OutcomeAndReason | None:
    """The harness or the host failed: nothing can be said about the kernel."""
    if error := seen.harness_error or (seen.interaction.harness_error if seen.interaction else ""):
        return Outcome.HARNESS_ERROR, error
    if seen.exit_status and seen.exit_status.cause in (ExitCause.KILLED, ExitCause.REFUSED):
        return Outcome.HARNESS_ERROR, f"the hypervisor ended by itself: {seen.exit_status.detail}{_text(seen)}"
    return None


def _not_started(seen: Observation) -> OutcomeAndReason | None:
    """The kernel never started the program, or had no root to start it from."""
    if not seen.booted:
        return Outcome.BOOT_FAILED, f"the kernel never started the program: {_how_it_ended(seen)}{_text(seen)}"
    if not seen.launch_failed:
        return None
    if seen.root_failed:
        return Outcome.BOOT_FAILED, f"the kernel could not mount its root: {seen.root_failed}"
    why = seen.launch_message or "it powered off without a word of why"
    return Outcome.FAILED, f"the kernel could not start the program: {why}"


def _contradicted(seen: Observation) -> OutcomeAndReason | None:
    """Two sources give different statuses."""
    return (Outcome.FAILED, seen.contradiction) if seen.contradiction else None


def _ended_badly(seen: Observation) -> OutcomeAndReason | None:
    """The program's own status decides."""
    if seen.status is not None and seen.status in seen.skip_statuses:
        return Outcome.SKIPPED, f"the program says that it can't run here (status {seen.status})"
    if seen.status is not None and seen.status not in seen.good_statuses:
        return Outcome.FAILED, f"the program ended with status {seen.status}{_meanwhile(seen)}"
    return None


def _ended_from_inside(seen: Observation) -> OutcomeAndReason | None:
    """A program that the test started ended the whole guest, so the test itself never returned."""
    if seen.nested_exit is None:
        return None
    return Outcome.GUEST_ENDED, (
        f"a program that this one had started called exit({seen.nested_exit}), which ends the guest; "
        "its own status never came"
    )


def _served(seen: Observation) -> OutcomeAndReason | None:
    """A long-running program: its answers count, and that it ends when it is asked to, and not before."""
    done = seen.interaction
    return _judge_interaction(seen, done) if done and done.long_running else None


def _passed(seen: Observation) -> OutcomeAndReason | None:
    """Every source says that it ended well."""
    if seen.status is None or not seen.clean_end:
        return None
    if seen.unprinted:
        return Outcome.FAILED, f"it ended well, but did not print {seen.unprinted[0]!r}"
    if seen.skip:
        return Outcome.SKIPPED, f"the program says that it can't run here: {seen.skip}"
    if seen.denial:
        return Outcome.FAILED, f"it ended with status {seen.status}, but says: {seen.denial}"
    if seen.texts:
        text = "text like a kernel's fault came from the program"
        return Outcome.PASSED, f"status {seen.status} and a clean end; {text}"
    return Outcome.PASSED, f"the program ended with status {seen.status} and the guest ended cleanly"


def _late(seen: Observation) -> OutcomeAndReason | None:
    """The limit was reached, and not by a kernel that had halted."""
    if not seen.activity or seen.halted:
        return None
    outcome, reason = _judge_late(seen)
    return outcome, f"{reason}{_text(seen)}"


def _unclean(seen: Observation) -> OutcomeAndReason | None:
    """The program ended well, but the guest did not."""
    if seen.status is None:
        return None
    how = f"the kernel did not power off: {seen.power_off_failed}" if seen.power_off_failed else ""
    how = how or f"the guest did not end cleanly: {_how_it_ended(seen)}"
    return Outcome.GUEST_ENDED, f"the program ended with status {seen.status}; {how}{_text(seen)}"


PRECEDENCE: tuple[Callable[[Observation], OutcomeAndReason | None], ...] = (
    _died_as_tested, _disturbed, _died, _harness_failed, _not_started, _contradicted, _ended_badly,
    _ended_from_inside, _served, _passed, _late, _unclean,
)  # fmt: skip
"""The rows of the table in docs/reference/verdicts.md, in its order; `guest_ended` is the remaining case."""


def _judge_interaction(seen: Observation, interaction: InteractionResult) -> OutcomeAndReason:
    if not interaction.ready and seen.activity:
        outcome, reason = _judge_late(seen)
        return outcome, f"the program never got ready: {reason}"
    ended = seen.status is not None or seen.exit_status is not None
    if ended and not interaction.end_requested:
        how = f"with status {seen.status}" if seen.status is not None else _how_it_ended(seen)
        return Outcome.GUEST_ENDED, f"the program ended before it was asked to: {how}{_meanwhile(seen)}"
    if interaction.mismatches:
        more = f" (and {len(interaction.mismatches) - 1} more)" if len(interaction.mismatches) > 1 else ""
        return Outcome.FAILED, f"{interaction.mismatches[0]}{more}"
    if seen.unprinted:
        return Outcome.FAILED, f"it answered rightly, but did not print {seen.unprinted[0]!r}"
    if seen.clean_end:
        return Outcome.PASSED, "the program answered rightly to the end, and ended when it was asked to"
    if seen.exit_status and seen.exit_status.cause is ExitCause.STOPPED:
        return (
            Outcome.PASSED,
            "the program answered rightly until it was stopped; this guest can't be asked to end",
        )
    if seen.activity:
        outcome, reason = _judge_late(seen)
        return outcome, f"the program did not end when it was asked to: {reason}"
    return Outcome.GUEST_ENDED, f"the guest did not end as asked: {_how_it_ended(seen)}"


def _meanwhile(seen: Observation) -> str:
    return f", while the host {seen.interaction.doing}" if seen.interaction and seen.interaction.doing else ""


def _text(seen: Observation) -> str:
    """A note on texts like a fault's, if the kernel was not observed to die."""
    if not seen.texts:
        return ""
    text = seen.texts[0].text
    return f" (the console has text like a kernel's fault, but the kernel was not seen to die: {text})"


def _judge_late(seen: Observation) -> OutcomeAndReason:
    after = " after the program's status 0" if seen.status == 0 else ""
    if seen.activity is Activity.IDLE:
        return Outcome.HUNG, f"nothing ran any more when the limit of {seen.limit:.0f} s was reached{after}"
    if seen.activity is Activity.SPINNING:
        return Outcome.HUNG, f"a vCPU spun in one place when the limit of {seen.limit:.0f} s was reached{after}"
    return Outcome.TIMED_OUT, f"still running when the limit of {seen.limit:.0f} s was reached{after}"


def _how_it_ended(seen: Observation) -> str:
    if seen.halted:
        return "the kernel halted"
    if seen.exit_status:
        return {
            ExitCause.POWERED_OFF: "it powered off",
            ExitCause.OFF_OR_HALTED: "it powered off or halted for good, which its hypervisor does not tell apart",
            ExitCause.RESET: "it was reset, which is also what a triple fault does",
            ExitCause.PANICKED: "it reported a panic",
        }.get(seen.exit_status.cause, seen.exit_status.detail)
    if seen.activity:
        return f"it was {seen.activity} when the limit of {seen.limit:.0f} s was reached"
    return "its console was closed" if seen.console_closed else "nothing tells how"
