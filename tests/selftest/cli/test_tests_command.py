"""`osv-harness tests`: a cell's tests with what durations, expectations and the history say of each."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from history_records import VERSION, judged

from harness.cli import main
from harness.cli.command_line import parse
from harness.core.errors import HarnessError
from harness.metrics.history.store import History
from harness.runner.session import Session

CELL = "linux:x86_64-qemu-rofs-all"
EXPECTED = """
[[expect]]
cells = "linux:*"
tests = "stress-ng-nop"
outcome = "hung"
reason = "a [b]reason[/b]"
expires = 2099-01-31
"""


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with an expectation of its own, and a history's place without a history."""
    monkeypatch.setenv("OSV_HARNESS_PROJECT", str(tmp_path))
    monkeypatch.setenv("OSV_HARNESS_HISTORY", str(tmp_path / "history.sqlite"))
    monkeypatch.delenv("OSV_ROOT", raising=False)
    (tmp_path / "expectations.toml").write_text(EXPECTED)
    return tmp_path


def test_all_that_is_known_of_tests_is_told(
    project: Path, session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    other = replace(VERSION, digest="e" * 64)
    kept = [
        judged(cell=CELL, test="stress-ng-nop", outcome="hung"),
        judged(cell=CELL, test="stress-ng-nop", outcome="passed", version=other),  # another kernel: not flaky
        judged(cell=CELL, test="stress-ng-null", outcome="passed"),
        judged(cell=CELL, test="stress-ng-null", outcome="failed", taken=6.0),
        judged(cell="linux:x86_64-qemu-ramfs-all", test="stress-ng-null", outcome="crashed"),
    ]
    with History(project / "history.sqlite") as history:
        history.add(kept)
    assert main(["tests", CELL, "stress-ng-n*", "--json"]) == 0
    rows = {row["test"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    seconds = session.known_seconds(session.cell(CELL))
    assert {name: row["seconds"] for name, row in rows.items()} == {name: seconds.get(name) for name in rows}
    assert rows["stress-ng-nop"] == {
        "test": "stress-ng-nop", "seconds": seconds.get("stress-ng-nop"), "expected": ["hung"],
        "reason": "a [b]reason[/b]", "expires": "2099-01-31", "outcomes": {"hung": 1, "passed": 1}, "flaky": False,
    }  # fmt: skip
    assert rows["stress-ng-null"]["outcomes"] == {"passed": 1, "failed": 1} and rows["stress-ng-null"]["flaky"]
    assert main(["tests", CELL, "stress-ng-n*"]) == 0
    shown = capsys.readouterr().out
    assert "1 passed, 1 failed: flaky" in shown and "hung until 2099-01-31: a [b]reason[/b]" in shown
    assert f"{len(rows)} tests: 1 expected not to pass, 1 flaky; " in shown


def test_a_question_makes_no_history_and_offers_the_nearest_names(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tests", CELL, "stress-ng-nop"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("1 test: ")
    assert not (project / "history.sqlite").exists()


@pytest.mark.parametrize("command", ["test", "tests"])
@pytest.mark.parametrize(
    ("name", "said"), [("stress-ng-npo", "stress-ng-nop"), ("no-such-*", "has no test no-such-*")]
)
def test_a_name_or_pattern_of_no_test_is_said_at_once(
    command: str, name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, CELL, name]) == 2
    assert said in capsys.readouterr().err


def test_names_may_stand_before_options_and_after_them() -> None:
    words = ["stress-ng-nop", "--launch", "pie", "stress-ng-null", "--json", "stress-ng-cpu"]
    asked = parse(["test", CELL, *words]).arguments
    assert asked.test == ("stress-ng-nop", "stress-ng-null", "stress-ng-cpu") and asked.json
    assert parse(["tests", CELL, "--json", "stress-ng-nop"]).arguments.test == ("stress-ng-nop",)
    with pytest.raises(HarnessError, match="No such option '--nonsense'"):
        parse(["test", CELL, "--json", "stress-ng-nop", "--nonsense"])
