"""Each rule of the verdict, and which one wins where several hold."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.project import read
from harness.runner import catalog
from harness.runner.base import Program, first_said, unprinted
from harness.runner.console.matcher import Match
from harness.runner.console.transcript import Transcript
from harness.runner.observation import Activity, InteractionResult, Observation
from harness.runner.verdict import PRECEDENCE, Outcome, judge
from harness.vm.base import ExitCause, ExitStatus

POWERED_OFF = ExitStatus(ExitCause.POWERED_OFF, "guest-shutdown")
RESET = ExitStatus(ExitCause.RESET, "guest-reset")
OFF_OR_HALTED = ExitStatus(ExitCause.OFF_OR_HALTED, "the domain's reason was 0")
STOPPED = ExitStatus(ExitCause.STOPPED, "host-qmp-quit")
KILLED = ExitStatus(ExitCause.KILLED, "QEMU was ended by SIGKILL")
REFUSED = ExitStatus(ExitCause.REFUSED, "QEMU exited with 1: no")
ASSERTION = Match("fault", "assertion", 100, "Assertion failed: a == b")
REGISTERS = Match("trace", "registers", 90, "[registers]")
SIGNAL = Match("fault", "uncaught signal", 100, "Uncaught signal 15. Powering off.")

NOTHING = Observation(booted=False)
BOOTED = replace(NOTHING, booted=True)
TRACED = replace(BOOTED, traced=True)
PASSED = replace(BOOTED, status=0, clean_end=True, exit_status=POWERED_OFF)
LATE = replace(BOOTED, activity=Activity.BUSY, limit=60.0)


@pytest.mark.parametrize(
    ("seen", "outcome", "reason"),
    [
        # Nothing is a pass by default.
        (NOTHING, "boot_failed", "nothing tells how"),
        (BOOTED, "guest_ended", "nothing tells how"),
        (replace(BOOTED, console_closed=True), "guest_ended", "its console was closed"),
        (replace(BOOTED, status=0), "guest_ended", "status 0; the guest did not end cleanly"),
        (replace(BOOTED, exit_status=POWERED_OFF, clean_end=True), "guest_ended", "it powered off"),
        (replace(PASSED, booted=False), "boot_failed", "it powered off"),
        (PASSED, "passed", "status 0"),
        # Statuses.
        (replace(PASSED, status=1), "failed", "status 1"),
        (replace(PASSED, status=-1), "failed", "status -1"),
        (replace(BOOTED, status=1, exit_status=KILLED), "harness_error", "SIGKILL"),
        (replace(PASSED, status=77, skip_statuses=(4, 77)), "skipped", "status 77"),
        (replace(PASSED, status=0, skip_statuses=(0,)), "skipped", "status 0"),
        (replace(PASSED, launch_failed=True, launch_message="bad elf header."), "failed", "program: bad elf"),
        (replace(PASSED, launch_failed=True), "failed", "without a word"),
        (replace(PASSED, launch_failed=True, root_failed="no rofs"), "boot_failed", "mount its root: no rofs"),
        (replace(PASSED, root_failed="no rofs"), "passed", "status 0"),
        # Witnesses that contradict each other are never a pass.
        (replace(PASSED, denial="SUMMARY: 3 tests, 1 failures"), "failed", "status 0, but says: SUMMARY: 3"),
        (replace(PASSED, denial="FAIL: x", status=1), "failed", "ended with status 1"),
        (replace(PASSED, skip="it will be skipped", denial="none ran"), "skipped", "here: it will be skipped"),
        (replace(PASSED, skip="it will be skipped", status=1), "failed", "ended with status 1"),
        (replace(PASSED, contradiction="one says 0, the other 1"), "failed", "one says 0"),
        (replace(PASSED, clean_end=False, exit_status=RESET),
         "guest_ended", "status 0; the guest did not end cleanly"),
        (replace(PASSED, clean_end=False, exit_status=None, halted=True, traced=True, power_off_failed="no S5"),
         "guest_ended", "status 0; the kernel did not power off: no S5"),
        (replace(PASSED, status=1, clean_end=False, halted=True, power_off_failed="no"), "failed", "status 1"),
        (replace(PASSED, status=None, nested_exit=0, traced=True), "guest_ended", "exit(0), which ends the guest"),
        # A fault beats everything.
        (replace(PASSED, faults=(ASSERTION,)), "crashed", "a == b"),
        (replace(LATE, faults=(ASSERTION,)), "crashed", "a == b"),
        (replace(BOOTED, faults=(ASSERTION,), exit_status=KILLED), "crashed", "a == b"),
        (replace(BOOTED, faults=(ASSERTION,), harness_error="QMP is gone"), "crashed", "a == b"),
        (replace(BOOTED, faults=(ASSERTION,), exit_status=RESET), "crashed", "a == b"),
        (replace(NOTHING, faults=(ASSERTION,)), "boot_failed", "a == b"),
        (replace(PASSED, status=77, skip_statuses=(77,), faults=(ASSERTION,)), "crashed", "a == b"),
        (replace(BOOTED, faults=(REGISTERS,)), "crashed", "[registers]"),
        # What abort() holds is whole, what is on the console can be torn.
        (replace(TRACED, aborted=True, abort_message="Aborted"), "crashed", "abort: Aborted"),
        (replace(TRACED, aborted=True, abort_message="Aborted", faults=(ASSERTION,)), "crashed", "a == b"),
        (replace(TRACED, aborted=True, abort_message="a == c", faults=(REGISTERS,)), "crashed", "abort: a == c"),
        (replace(TRACED, aborted=True, abort_message="a == b", faults=(ASSERTION,)), "crashed", "assertion: a =="),
        (replace(TRACED, aborted=True), "crashed", "its message can't be read"),
        (replace(TRACED, aborted=True, abort_message="", faults=(REGISTERS,)), "crashed", "without a message"),
        (replace(PASSED, aborted=True, traced=True), "crashed", "its message can't be read"),
        (replace(TRACED, booted=False, aborted=True, abort_message="no clock"), "boot_failed", "no clock"),
        (replace(TRACED, signalled=True, faults=(SIGNAL,), exit_status=POWERED_OFF),
         "crashed", "Uncaught signal 15"),
        # Unless the kernel was seen to live on, so that a program printed it.
        (replace(PASSED, faults=(ASSERTION,), traced=True), "passed", "came from the program"),
        (replace(PASSED, status=2, faults=(ASSERTION,), traced=True), "failed", "status 2"),
        (replace(TRACED, faults=(ASSERTION,), exit_status=RESET),
         "guest_ended", "not seen to die: Assertion failed"),
        (replace(TRACED, faults=(ASSERTION,), exit_status=POWERED_OFF), "guest_ended", "it powered off"),
        (replace(TRACED, faults=(ASSERTION,), exit_status=KILLED), "harness_error", "SIGKILL"),
        (replace(TRACED, faults=(ASSERTION,), halted=True), "guest_ended", "the kernel halted"),
        (replace(LATE, faults=(ASSERTION,), traced=True), "timed_out", "not seen to die: Assertion failed"),
        (replace(LATE, activity=Activity.IDLE, faults=(ASSERTION,), traced=True), "hung", "nothing ran"),
        # A death that is what the program tests.
        (replace(BOOTED, faults=(SIGNAL,), ends_by=SIGNAL.text, exit_status=POWERED_OFF), "passed", "as it tests"),
        (replace(TRACED, signalled=True, faults=(SIGNAL,), ends_by=SIGNAL.text, exit_status=POWERED_OFF),
         "passed", "as it tests"),
        (replace(TRACED, faults=(SIGNAL,), ends_by=SIGNAL.text, exit_status=POWERED_OFF),
         "guest_ended", "powered off"),
        (replace(BOOTED, faults=(ASSERTION,), ends_by=SIGNAL.text, exit_status=POWERED_OFF), "crashed", "a == b"),
        (replace(BOOTED, faults=(ASSERTION, SIGNAL), ends_by=SIGNAL.text, exit_status=POWERED_OFF),
         "crashed", "a =="),
        (replace(LATE, faults=(SIGNAL,), ends_by=SIGNAL.text), "crashed", "Uncaught signal 15"),
        (replace(PASSED, ends_by=SIGNAL.text), "passed", "status 0"),
        # The harness's and the host's own faults are never the kernel's.
        (replace(BOOTED, harness_error="the disk is full"), "harness_error", "the disk is full"),
        (replace(NOTHING, harness_error="QEMU did not start"), "harness_error", "did not start"),
        (replace(PASSED, harness_error="the disk is full"), "harness_error", "the disk is full"),
        (replace(BOOTED, exit_status=KILLED), "harness_error", "SIGKILL"),
        (replace(NOTHING, exit_status=REFUSED), "harness_error", "exited with 1"),
        # Ends in mid-test.
        (replace(BOOTED, exit_status=RESET), "guest_ended", "reset"),
        (replace(BOOTED, exit_status=OFF_OR_HALTED), "guest_ended", "powered off or halted for good"),
        (replace(BOOTED, exit_status=ExitStatus(ExitCause.PANICKED, "guest-panic")), "guest_ended", "panic"),
        (replace(BOOTED, halted=True), "guest_ended", "halted"),
        # Limits.
        (LATE, "timed_out", "still running when the limit of 60 s"),
        (replace(LATE, activity=Activity.UNKNOWN), "timed_out", "limit of 60 s"),
        (replace(LATE, activity=Activity.IDLE), "hung", "nothing ran"),
        (replace(LATE, activity=Activity.SPINNING), "hung", "spun"),
        (replace(LATE, activity=Activity.IDLE, status=0), "hung", "after the program's status 0"),
        (replace(LATE, activity=Activity.IDLE, status=3), "failed", "status 3"),
        (replace(LATE, activity=Activity.IDLE, booted=False), "boot_failed", "idle"),
    ],
)  # fmt: skip
def test_judge(seen: Observation, outcome: str, reason: str) -> None:
    verdict, why = judge(seen)
    assert (verdict, reason in why) == (outcome, True), f"{verdict}: {why}"


def test_the_document_has_a_row_for_each_rule() -> None:
    table = (Path(__file__).parents[3] / "docs/reference/verdicts.md").read_text().partition("## Precedence")[2]
    rows = [line for line in table.partition("A program that serves")[0].splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= len(PRECEDENCE)


@pytest.mark.parametrize("outcome", [o for o in Outcome if o is not Outcome.PASSED])
def test_only_a_pass_passes(outcome: Outcome) -> None:
    assert outcome != Outcome.PASSED


SERVED = InteractionResult(ready=True, end_requested=True)
ENDED_AS_ASKED = replace(BOOTED, interaction=SERVED, clean_end=True, exit_status=POWERED_OFF)


@pytest.mark.parametrize(
    ("seen", "outcome", "reason"),
    [
        (ENDED_AS_ASKED, "passed", "answered rightly to the end"),
        (replace(ENDED_AS_ASKED, clean_end=False, exit_status=STOPPED), "passed", "this guest can't be asked"),
        (replace(ENDED_AS_ASKED, clean_end=False), "guest_ended", "did not end as asked"),
        (replace(ENDED_AS_ASKED, interaction=replace(SERVED, mismatches=("a", "b"))),
         "failed", r"a \(and 1 more\)"),
        (replace(ENDED_AS_ASKED, interaction=replace(SERVED, end_requested=False)),
         "guest_ended", "before it was"),
        (replace(ENDED_AS_ASKED, interaction=replace(SERVED, harness_error="wrk died")),
         "harness_error", "wrk died"),
        (replace(ENDED_AS_ASKED, faults=(ASSERTION,), interaction=replace(SERVED, doing="loaded it")),
         "crashed", "Assertion failed: a == b, while the host loaded it"),
        (replace(ENDED_AS_ASKED, status=143, good_statuses=(0, 143)), "passed", "answered rightly"),
        (replace(ENDED_AS_ASKED, unprinted=("x+",)), "failed", r"answered rightly, but did not print 'x\+'"),
        (replace(ENDED_AS_ASKED, status=143), "failed", "status 143"),
        (replace(BOOTED, interaction=replace(SERVED, ready=False), activity=Activity.IDLE),
         "hung", "never got ready"),
        (replace(BOOTED, interaction=SERVED, activity=Activity.BUSY),
         "timed_out", "did not end when it was asked to"),
        (replace(BOOTED, status=0, clean_end=True, unprinted=("x+",)), "failed", r"did not print 'x\+'"),
    ],
)  # fmt: skip
def test_a_program_that_serves(seen: Observation, outcome: str, reason: str) -> None:
    got, why = judge(seen)
    assert got == outcome
    assert re.search(reason, why)


def test_a_line_that_the_kernel_tore_is_what_the_program_printed() -> None:
    """As OSv's console had it: another thread of the kernel spoke in the middle of bc's line."""
    transcript = Transcript(0.0)
    transcript.add(b"pi random: device unblocked.\r\n3.14159\r\nroot 1.41\r\n", 1.0)
    program = Program("bc", "bc", 10, prints=(r"^pi 3\.14159$", r"^root 1\.42$"))
    assert unprinted(program, transcript, "osv") == (r"^root 1\.42$",)


@pytest.mark.parametrize(
    ("printed", "said"),
    [
        # As OSv's tests print what they found: tests/tst-fallocate.cc, tst-ttyname.c, tst-sendfile.cc,
        # tst-openat.cc, tst-shm-consistency.cc, tst-bsd-tcp1.cc.
        ("SUMMARY: 22 tests, 0 failures", ""),
        ("SUMMARY: 12 tests / 0 failures", ""),
        ("SUMMARY: 10 tests, 10 failures", "SUMMARY: 10 tests, 10 failures"),
        ("SUMMARY: 12 tests / 3 failures", "SUMMARY: 12 tests / 3 failures"),
        ("SUMMARY: 7, 1 failures", "SUMMARY: 7, 1 failures"),
        ("PASS: open\r\nFAIL: write", "FAIL: write"),
        ("open the file: FAIL (Invalid argument)", "open the file: FAIL (Invalid argument)"),
        ("  FAIL  mmap A succeeded", "  FAIL  mmap A succeeded"),
        ("BSD TCP1 Test completed: FAIL!", "BSD TCP1 Test completed: FAIL!"),
        ("PASS: mmap is MAP_FAILED, FAILSAFE is no word of it", ""),
        ("mq-smoke: 0 failures", ""),
        ("FAIL: \x1b[31m" + "x" * 999, "FAIL: " + "x" * 194),
        pytest.param("\n" * 200_000 + "FAIL: late", "FAIL: late", id="a flood of empty lines, in no long time"),
        ("SUMMARY: 3 tests, random: device unblocked.\r\n1 failures", "SUMMARY: 3 tests, 1 failures"),
    ],
)  # fmt: skip
def test_a_test_of_osv_that_says_it_failed_is_heard(printed: str, said: str) -> None:
    """Whatever its status, safe to show, and where a kernel's message tore its line."""
    transcript = Transcript(0.0)
    transcript.add(f"{printed}\r\n".encode(), 1.0)
    denials = tuple(read(catalog.FOLDER / "osv.toml")["denials"])
    assert first_said(denials, transcript, "osv") == said
    assert not Program("t", "/t", 10).denials, "an app may say so of other things"
