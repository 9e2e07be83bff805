"""A run whose verdict can be the host's doing is taken again, alone; the second hides nothing of the first."""

from collections.abc import Callable
from dataclasses import replace

from harness.programs import Run
from harness.verdict import Outcome


def hosts_doing(run: Run) -> str:
    """What the host did that the run may have failed by, as a sentence goes on after "while"; nothing where no
    host makes a program do what this one did: crashes, hangs, passes."""
    outcome, seen = run.verdict.outcome, run.verdict.observation
    if outcome is Outcome.HARNESS_ERROR and seen.disturbed:
        return f"the host {seen.host_effect}"
    if outcome is Outcome.FAILED and seen.pauses:
        longest = max(seen.pauses, key=lambda pause: pause.seconds)
        return f"the host {longest.how} for {longest.seconds:.0f} s"
    if outcome is Outcome.FAILED and seen.starved:
        return f"the host kept its guest waiting for {seen.kept_waiting:.0%} of its time"
    return ""


def taken_again(first: Run, run_alone: Callable[[], Run]) -> Run:
    """The run, or what a second one comes to where the first may have failed by what the host did.

    A program that failed and then passed is `flaky`: it may have failed by the host, or by itself.
    """
    doing = hosts_doing(first)
    if not doing:
        return first
    again = run_alone()
    was, reason = first.verdict.outcome, first.verdict.reason
    ended = "failed" if was is Outcome.FAILED else f"ended as {was}"
    note = f"The first run {ended} ({reason}), while {doing}."
    verdict = again.verdict
    if was is Outcome.FAILED and verdict.outcome is Outcome.PASSED:
        said = f"it failed ({reason}) while {doing}, and passed when it ran again, alone"
        verdict = replace(verdict, outcome=Outcome.FLAKY, reason=said, lines=first.verdict.lines)
    return replace(again, verdict=verdict, notes=(*again.notes, note), first=first)
