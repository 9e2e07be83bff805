"""OSv beside Linux: whose a difference is, and real programs on both."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli import main
from harness.core.errors import CellError
from harness.runner.session import Session
from harness.runner.verdict import Outcome
from harness.workloads.conformance import Conformance, comparison, conformance

NOT_PASSED = (Outcome.FAILED, Outcome.CRASHED, Outcome.HUNG, Outcome.GUEST_ENDED)


@pytest.mark.parametrize("bad", NOT_PASSED)
def test_whose_a_difference_is(bad: Outcome) -> None:
    passed = Outcome.PASSED
    assert conformance(passed, passed) is Conformance.BOTH
    assert conformance(passed, bad) is Conformance.OSV
    assert conformance(bad, passed) is Conformance.LINUX
    assert all(conformance(bad, other) is Conformance.PROGRAM for other in NOT_PASSED)
    assert conformance(passed, Outcome.SKIPPED) is Conformance.OSV
    for unclear in (Outcome.HARNESS_ERROR, Outcome.BOOT_FAILED, Outcome.FLAKY):
        assert conformance(passed, unclear) is conformance(unclear, bad) is Conformance.UNKNOWN
    assert conformance(Outcome.SKIPPED, bad) is Conformance.UNKNOWN


def test_a_program_that_says_it_did_nothing_has_failed_whatever_its_status(session: Session) -> None:
    linux = session.cell("linux:qemu-rofs")
    stressor = session.program(linux, "stress-ng-nop")
    commands = {"did": "echo did all", "did nothing": "echo all bogo-op counters are zero", "broke": "exit 5"}
    commands["lacks"] = "sh -c 'echo nop: stressor will be skipped, not supported; echo No stress workers invoked'"
    runs = {name: session.run(linux, replace(stressor, command=command)) for name, command in commands.items()}
    found = {name: str(run.verdict.outcome) for name, run in runs.items()}
    assert found == {"did": "passed", "did nothing": "failed", "broke": "failed", "lacks": "skipped"}
    assert "status 0, but says: " in runs["did nothing"].verdict.reason


def test_only_programs_that_linux_runs_too_are_compared(session: Session) -> None:
    for name in ("linux:qemu-rofs", "osv:qemu-rofs", "osv:qemu-rofs+linux_ld"):
        with pytest.raises(CellError, match="no programs that Linux runs, too"):
            comparison(session, session.cell(name))


def test_programs_run_on_both_kernels(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if session.osv_root is None:
        pytest.skip("no OSv checkout is named (OSV_ROOT)")
    monkeypatch.chdir(tmp_path)
    asked = ["tst-hello", "tst-*ctype", "tst-utimes", "tst-symlink*", "stress-ng-nop", "stress-ng-dnotify"]
    words = ["conform", "qemu-rofs", *asked, "--osv-root", str(session.osv_root), "--json", "-j", "2"]
    assert main(words) == 1
    found = {row["program"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert {name: row["is"] for name, row in found.items()} == {
        "tst-hello": "passes on both",
        "tst-ctype": "OSv's",
        "tst-wctype": "passes on OSv alone",
        "tst-utimes": "the program's",
        "tst-symlink": "passes on OSv alone",
        "tst-symlink-rofs": "left out",
        "stress-ng-nop": "OSv's",
        "stress-ng-dnotify": "OSv's",
    }
    assert "bogo-op counters are zero" in found["stress-ng-nop"]["osv"]["reason"]
    (run,) = (tmp_path / "runs").iterdir()
    assert len(list(run.rglob("reproduce.txt"))) == 12, "two for each that differs"
    assert "says: FAIL: symlink" in found["tst-symlink"]["linux"]["reason"], "its status is 0"
    assert found["tst-ctype"]["linux"]["outcome"] == "passed", "it reads the host's locale"
    assert found["stress-ng-dnotify"]["osv"]["outcome"] == "skipped", "its status is 0"
    assert "OSv's own rofs" in found["tst-symlink-rofs"]["why"]
    for asked_for, told in (("tst-hell", "tst-hello"), ("tst-tls", "tst-tls is left out: tests-with-linux-ld")):
        assert main(["conform", "qemu-rofs", asked_for, "--osv-root", str(session.osv_root)]) == 2
        assert told in capsys.readouterr().err
