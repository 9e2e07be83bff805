"""What may be the host's doing is taken again; the second run hides nothing of the first."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from time import monotonic
from xml.etree import ElementTree as ET

import pytest
from crowd import crowd

from harness.cli.output import screen, table
from harness.host.in_lab import VARIABLE
from harness.host.interference import Pause
from harness.host.process.cpu_time import kept_waiting
from harness.metrics.history.store import History
from harness.metrics.records import CONSOLE
from harness.report import evidence
from harness.runner.base import Program, Run, conclude
from harness.runner.console.matcher import Match
from harness.runner.console.transcript import Transcript
from harness.runner.interaction import GuestClient, Interaction
from harness.runner.observation import Observation
from harness.runner.retry import run_with_retry
from harness.runner.session import Session
from harness.runner.verdict import Outcome
from harness.vm.base import ExitCause, ExitStatus

PASSED = Observation(booted=True, status=0, clean_end=True)
FAILED = replace(PASSED, status=1)
STARVED = replace(FAILED, kept_waiting=0.61)
PAUSED = replace(FAILED, pauses=(Pause(3.0, 45.0, "was suspended"),))
STALL = (Match("watchdog", "rcu stall", 9, "rcu: INFO: rcu_preempt self-detected stall on CPU"),)
DISTURBED = replace(PASSED, faults=STALL, host_effect="was suspended for 45 s")
CRASHED = replace(PASSED, faults=STALL)
RESET = Observation(booted=True, exit_status=ExitStatus(ExitCause.RESET, "it was reset"))
LOSES = "a lab, which now and then loses a register"

ITEM = """
from test_retry import FAILED, PASSED, STARVED, run_of, run_with_retry

def test_flaky(harness_session, outcome_reporter):
    cell = harness_session.cell("{cell}")
    twice = {{False: run_of(STARVED, b"it failed"), True: run_of(PASSED, b"it passed")}}
    flaky = run_with_retry("a cell", twice.__getitem__)
    outcome_reporter.conclude(cell, harness_session.image(cell), flaky, "again")
"""


def run_of(seen: Observation, printed: bytes = b"") -> Run:
    """A run that came to this."""
    transcript = Transcript(monotonic())
    transcript.add(printed, monotonic())
    return conclude(Program("sometimes", "sometimes", 60), seen, transcript, ("qemu",), "booted")


@pytest.mark.parametrize(
    ("first", "second", "outcome", "note"),
    [
        (PASSED, None, "passed", ""),
        (FAILED, None, "failed", ""),
        (replace(PASSED, kept_waiting=0.9), None, "passed", ""),
        (CRASHED, None, "crashed", ""),
        (replace(CRASHED, kept_waiting=0.9), None, "crashed", ""),
        (STARVED, PASSED, "flaky", "The first run failed (the program ended with status 1), while the host kept"),
        (STARVED, FAILED, "failed", "while the host kept its guest waiting for 61% of its time."),
        (STARVED, CRASHED, "crashed", "The first run failed"),
        (PAUSED, PASSED, "flaky", "while the host was suspended for 45 s."),
        (DISTURBED, PASSED, "passed", "The first run ended as harness_error (the host was suspended for 45 s"),
        (DISTURBED, FAILED, "failed", "The first run ended as harness_error"),
        (DISTURBED, CRASHED, "crashed", "The first run ended as harness_error"),
        (DISTURBED, DISTURBED, "harness_error", "The first run ended as harness_error"),
    ],
)  # fmt: skip
def test_what_may_be_the_hosts_doing_is_run_again_alone(
    first: Observation, second: Observation | None, outcome: str, note: str
) -> None:
    def run_once(alone: bool) -> Run:
        assert second is not None or not alone, "it is not the host's doing"
        return run_of(second if alone and second else first)

    run = run_with_retry("a cell", run_once)
    assert run.verdict.outcome == outcome
    assert [note in told for told in run.notes] == ([True] if note else [])
    assert (run.first is not None) == bool(note)


@pytest.mark.parametrize(
    ("sleeps", "waited", "again"), [(True, 0.02, True), (True, 0.009, False), (False, 0.02, False)]
)
def test_one_that_sleeps_until_deadlines_runs_again_after_a_short_wait(
    sleeps: bool, waited: float, again: bool
) -> None:
    """It is `flaky` then: a timer of the kernel's may be the cause as well."""

    def run_once(alone: bool) -> Run:
        seen = PASSED if alone else replace(FAILED, kept_waiting=waited, steal=0.3, seconds=10.0)
        done = run_of(seen)
        return replace(done, program=replace(done.program, sleeps=sleeps))

    run = run_with_retry("a cell", run_once)
    assert (run.verdict.outcome, bool(run.first)) == (("flaky", True) if again else ("failed", False))
    assert not again or "kept its guest waiting for 0.2 s" in run.verdict.reason


@pytest.mark.parametrize("first", [STARVED, PAUSED])
def test_what_a_deterministic_guest_does_is_not_the_hosts_doing(first: Observation) -> None:
    def run_once(alone: bool) -> Run:
        assert not alone, "it would do the same again"
        done = run_of(first)
        return replace(done, program=replace(done.program, deterministic=True))

    assert run_with_retry("a cell", run_once).verdict.outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("first", "arch", "outcome", "why"),
    [
        (CRASHED, "x86_64", "flaky", LOSES), (FAILED, "x86_64", "flaky", LOSES), (RESET, "x86_64", "flaky", LOSES),
        (PASSED, "x86_64", "passed", ""), (CRASHED, "aarch64", "crashed", ""), (CRASHED, "", "crashed", ""),
        (FAILED, "aarch64", "flaky", "how long the host kept it waiting is not seen"), (FAILED, "", "failed", ""),
    ],
)  # fmt: skip
def test_what_a_lab_may_have_made_is_run_again(
    first: Observation, arch: str, outcome: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, arch)
    run = run_with_retry("a cell", lambda alone: run_of(PASSED if alone else first))
    assert run.verdict.outcome == outcome
    assert (run.first is not None) == (outcome == "flaky")
    assert all(why in note for note in run.notes)


def test_a_program_that_fails_one_time_in_two_is_flaky(session: Session, tmp_path: Path) -> None:
    """On a host that keeps its guests waiting; its first status is 1 and its second 0."""
    statuses = ["1", "0"]
    cell = session.cell("linux:qemu-rofs")
    session.runner(cell).prepare()
    until_told = "sh -c 'while [ ! -s /tmp/status ]; do :; done; echo so; exit $(cat /tmp/status)'"
    program = Program("sometimes", until_told, 120.0)

    def decide(client: GuestClient) -> None:
        while kept_waiting(client.pid) < 0.6 and client.seconds < 60.0:
            os.sched_yield()
        client.run_command(f"echo {statuses.pop(0)} > /tmp/status")

    with crowd():
        run = session.run(cell, program, Interaction(act=decide, long_running=False))
    assert run.verdict.outcome is Outcome.FLAKY, run.verdict.reason
    assert run.verdict.reason.startswith(
        "it failed (the program ended with status 1) while the host kept its guest"
    )
    assert run.first and run.first.verdict.outcome is Outcome.FAILED
    folder = evidence.write(run, session.image(cell), session.accelerator(cell), tmp_path, "again")
    for name in ("console.raw", "first-console.raw"):
        assert b"so\r\n" in (folder / name).read_bytes()
    assert '"outcome": "failed"' in (folder / "first-verdict.json").read_text()
    assert '"outcome": "flaky"' in (folder / "verdict.json").read_text()


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["alone", "with a worker"])
def test_pytest_shows_a_flaky_test_as_no_pass(session: Session, tmp_path: Path, workers: list[str]) -> None:
    cell = session.cell("linux:qemu-rofs")
    session.image(cell)
    (tmp_path / "test_item.py").write_text(ITEM.format(cell=cell))
    here, history = Path(__file__).parent, tmp_path / "history.sqlite"
    command = [
        sys.executable,
        "-m",
        "pytest",
        "test_item.py",
        "-p",
        "harness.integrations.pytest_plugin.plugin",
        "-c",
        os.devnull,
    ]
    command += ["--rootdir", str(tmp_path), "-p", "no:cacheprovider", "--history", str(history), *workers]
    command += ["--junitxml", "told.xml"]
    path = os.pathsep.join([str(here), str(here.parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 flaky" in done.stdout and "passed in" not in done.stdout and "1 passed" not in done.stdout
    assert (
        "flaky: it failed (the program ended with status 1) while the host kept its guest waiting" in done.stdout
    )
    (case,) = ET.parse(tmp_path / "told.xml").iter("testcase")
    assert case.find("skipped") is not None, "who reads only JUnit's words sees no pass either"
    (folder,) = {path.parent for path in tmp_path.rglob("first-console.raw")}
    assert (folder / "first-console.raw").read_bytes() == b"it failed"
    assert (folder / "console.raw").read_bytes() == b"it passed"
    with History(str(history)) as kept:
        judged = sorted(kept.judged(), key=lambda one: one.taken)
        consoles = {document.id: document.body for document in kept.documents(CONSOLE)}
    assert [(one.outcome, one.expected) for one in judged] == [("failed", False), ("flaky", False)]
    said = [consoles.pop(f"{one.id}-console") for one in judged]
    assert said == [{"lines": ["it failed"]}, {"lines": ["it passed"]}] and not consoles


def test_a_guests_words_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    """`:bug:` is no request for a picture of one."""
    words = "a :bug: and [red]one[/red] :warning:"
    out = screen()
    out.print(words, markup=False)
    rows = table("said")
    rows.add_row(":bug:")
    out.print(rows)
    shown = capsys.readouterr().out
    assert words in shown and shown.count(":bug:") == 2
