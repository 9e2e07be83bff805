"""The observation of a program's run on OSv, combined from the exit tracer, the console and the hypervisor."""

import re
from collections import Counter
from dataclasses import dataclass
from time import monotonic

from harness.core.machine import Machine
from harness.runner.base import Program, first_said, unprinted
from harness.runner.console.matcher import ConsoleMatcher, Match
from harness.runner.guest import Guest
from harness.runner.observation import Activity, InteractionResult, Observation
from harness.runner.osv.command_line import own_programs, programs_of
from harness.runner.osv.console_backtrace import place_on
from harness.runner.osv.exit_checkpoints import ExitCaller
from harness.runner.osv.exit_tracer import ExitTracer
from harness.vm.base import ExitCause, ExitStatus

TRACED = "the kernel, stopped where it learns the status"


@dataclass(frozen=True, slots=True)
class Status:
    """The status of the command line's programs, its source, and what contradicts it."""

    status: int | None
    source: str
    contradiction: str = ""


def observe(
    program: Program, guest: Guest, tracer: ExitTracer | None, *,
    booted: bool, activity: Activity | None, limit: float, interaction: InteractionResult | None,
    abort_message: str | None = None, fault: str = "",
) -> Observation:  # fmt: skip
    """The observation; the guest is over, or its time is.

    `abort_message` is the message with which the kernel aborted, `fault` is where it met its fault; the console
    may show these too.
    """
    monitor, vm, kernel = guest.monitor, guest.vm, guest.machine.image.cell.kernel
    exit_status = vm.wait_for_exit() if guest.closed else None
    watched = tracer if tracer and tracer.complete else None
    status = status_of(program, monitor, tracer)
    return Observation(
        booted=booted,
        status=status.status,
        status_from=status.source,
        contradiction=status.contradiction,
        clean_end=_ended_cleanly(guest.machine, exit_status, monitor, watched),
        exit_status=exit_status,
        console_closed=guest.closed,
        traced=watched is not None,
        aborted=bool(tracer and tracer.aborted),
        abort_message=abort_message,
        signalled=bool(tracer and tracer.signalled),
        halted=bool(tracer and tracer.halted),
        fault=fault or (place_on(bytes(guest.transcript.raw)) if monitor.faults() else ""),
        launch_failed=watched.launch_failed if watched else bool(_load_failed(monitor, program)),
        launch_message=_launch_message(monitor),
        nested_exit=_nested_exit(program, watched),
        faults=monitor.faults(),
        root_failed=_text(monitor.first("root_failed")),
        power_off_failed=_text(monitor.first("power_off_failed")),
        activity=activity,
        harness_error="" if guest.closed else vm.hypervisor_error(),
        limit=limit,
        seconds=monotonic() - guest.transcript.start,
        kept_waiting=guest.kept_waiting,
        steal=guest.host.steal,
        pauses=guest.host.pauses,
        skip_statuses=program.skip_statuses,
        ends_by=program.ends_by,
        good_statuses=program.good_statuses,
        unprinted=unprinted(program, guest.transcript, kernel),
        denial=first_said(program.denials, guest.transcript, kernel),
        skip=first_said(program.skips, guest.transcript, kernel),
        interaction=interaction,
    )


def status_of(program: Program, monitor: ConsoleMatcher, tracer: ExitTracer | None) -> Status:
    """The status of the command line's programs, as far as it is known."""
    if tracer and tracer.complete:
        status = traced_status(program, tracer)
        return Status(status, TRACED, "" if status else _contradiction(program, monitor, tracer))
    gone = ", ".join(tracer.refused) if tracer else ""
    refused = f"; the debug stub refused breakpoints at: {gone}" if gone else ""
    if tracer and tracer.lost:
        refused += f"; the kernel was stopped too late at: {', '.join(tracer.lost)}"
    own = [match for match in monitor.statuses() if not _is_nested(program, match)]
    if own:
        bad = [match.status for match in own if match.status]
        return Status(bad[0] if bad else 0, f"the console{refused}")
    if monitor.first("powering_off"):
        return Status(0, f"no status line on the console before its end{refused}")
    return Status(None, "")


def traced_status(program: Program, tracer: ExitTracer) -> int | None:
    """The first status of the command line's programs that is not 0, as the kernel showed it.

    It is 0 only if all of them have one.
    """
    own = own_programs(program.command, tracer.programs)
    statuses = [one.status for one in own]
    left = next((index for index, status in enumerate(statuses) if status is None), None)
    if tracer.exit_status is not None and _own_exit(program, tracer):
        if left is None:
            statuses.append(tracer.exit_status)
        else:
            statuses[left] = tracer.exit_status
    bad = [status for status in statuses if status]
    whole = len(own) >= len(programs_of(program.command)) and None not in statuses
    return bad[0] if bad else 0 if whole and statuses else None


def _contradiction(program: Program, monitor: ConsoleMatcher, tracer: ExitTracer) -> str:
    """A status on the console that is not 0, if the kernel had none.

    A program that a test or /init starts prints the same line. It is recognized by its path, or by the tracer.
    """
    named = set(programs_of(program.command))
    explained = Counter([*tracer.nested, *(one.path for one in tracer.programs if one.status)])
    for match in monitor.statuses():
        if not match.status or _is_nested(program, match):
            continue
        if match.program is not None and match.program not in named:
            continue
        if match.program is not None and explained[match.program]:
            explained[match.program] -= 1
            continue
        return f"the kernel was seen to have no status but 0, and its console says: {match.text.strip()}"
    return ""


def _is_nested(program: Program, match: Match) -> bool:
    """Whether the catalog lists the kernel's line as one about a program that this one runs itself."""
    return any(re.fullmatch(line, match.text) for line in program.nested)


def _own_exit(program: Program, tracer: ExitTracer) -> bool:
    """Whether a program of the command line called exit(): one that the main thread waited for or, in a command of
    several, one with their paths, because the main thread may wait for another by then."""
    named = programs_of(program.command)
    return tracer.exit_caller is ExitCaller.OWN or (len(named) > 1 and tracer.exit_path in named)


def _nested_exit(program: Program, tracer: ExitTracer | None) -> int | None:
    """The status of an exit() that no program of the command line called, as far as it is known."""
    return tracer.exit_status if tracer and not _own_exit(program, tracer) else None


def _ended_cleanly(
    machine: Machine, exit_status: ExitStatus | None, monitor: ConsoleMatcher, tracer: ExitTracer | None
) -> bool:
    """Whether the kernel ended cleanly, and the process ended as a clean end does on this machine."""
    if exit_status is None:
        return False
    by_reset = machine.powers_off_by_reset and exit_status.cause is ExitCause.RESET
    as_it_should = exit_status.cause in (ExitCause.POWERED_OFF, ExitCause.OFF_OR_HALTED) or by_reset
    asked = tracer.shut_down and not tracer.halted if tracer else monitor.saw_mark("powering_off")
    return asked and as_it_should


def _load_failed(monitor: ConsoleMatcher, program: Program) -> str:
    """The kernel's message that it could not start one of the programs: the last that it prints."""
    text = _launch_message(monitor)
    return text if any(path in text for path in programs_of(program.command)) or not monitor.statuses() else ""


def _launch_message(monitor: ConsoleMatcher) -> str:
    """The last message of its kind: a program may print another before it."""
    return _text(next((match for match in reversed(monitor.matches) if match.name == "load_failed"), None))


def _text(match: Match | None) -> str:
    return match.text.strip() if match else ""
