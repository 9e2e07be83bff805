"""Repeats a run, alone, if the host may have caused its verdict; the second run hides nothing of the first."""

from collections.abc import Callable
from dataclasses import replace

from harness.core.events import publish
from harness.host.in_lab import in_lab, loses_registers
from harness.runner.base import Run
from harness.runner.observation import STARVED
from harness.runner.verdict import Outcome

MADE_BY_A_LAB = frozenset(
    {Outcome.FAILED, Outcome.CRASHED, Outcome.HUNG, Outcome.GUEST_ENDED, Outcome.BOOT_FAILED}
)
"""Outcomes that a lost register can cause."""


def hosts_doing(run: Run) -> str:
    """What the host did that may have made the run fail, as a phrase after "while"; empty if no host causes such
    an outcome: crashes, hangs, passes, and the status of a deterministic guest, whose clock is its instructions.
    A lab's emulation can cause all except passes."""
    outcome, seen = run.verdict.outcome, run.verdict.observation
    if outcome in MADE_BY_A_LAB and loses_registers():
        return "its cpu was that of a lab, which now and then loses a register"
    if outcome is Outcome.HARNESS_ERROR and seen.disturbed:
        return f"the host {seen.host_effect}"
    if run.program.deterministic:
        return ""
    if outcome is Outcome.FAILED and seen.pauses:
        longest = max(seen.pauses, key=lambda pause: pause.seconds)
        return f"the host {longest.how} for {longest.seconds:.0f} s"
    if outcome is Outcome.FAILED and seen.starved:
        share, of = seen.kept_waiting, "of its time"
        if share <= STARVED:
            share, of = seen.steal, "of the time in which it wanted a cpu"
        return f"the host kept its guest waiting for {share:.0%} {of}"
    if outcome is Outcome.FAILED and run.program.sleeps and seen.late:
        return f"the host kept its guest waiting for {seen.kept_waiting * seen.seconds:.1f} s"
    if outcome is Outcome.FAILED and in_lab():
        return "it was in a lab, where how long the host kept it waiting is not seen"
    return ""


def run_with_retry(about: str, run: Callable[[bool], Run]) -> Run:
    """The result of `run`, or a second run if the host may have made the first one fail.

    The argument of `run` is whether no other guest may run beside it; `about` is the cell's name, for the event. A
    run that failed, or ended as a lab can make it end, and then passed is `flaky`: because of the host, or by
    itself.
    """
    first = run(False)
    doing = hosts_doing(first)
    if not doing:
        return first
    publish("guest.starved", about, f"{first.program.name} runs again, alone")
    again = run(True)
    was, reason = first.verdict.outcome, first.verdict.reason
    ended = "failed" if was is Outcome.FAILED else f"ended as {was}"
    note = f"The first run {ended} ({reason}), while {doing}."
    verdict = again.verdict
    if was in MADE_BY_A_LAB and verdict.outcome is Outcome.PASSED:
        said = f"it {ended} ({reason}) while {doing}, and passed when it ran again, alone"
        verdict = replace(verdict, outcome=Outcome.FLAKY, reason=said, lines=first.verdict.lines)
    return replace(again, verdict=verdict, notes=(*again.notes, note), first=first)
