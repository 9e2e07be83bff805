"""Long work that is silent is told to go on, by a clock that only goes forward."""

import re
import subprocess
import sys
import time
from pathlib import Path

import pexpect
import pytest

from harness.core.events import publish, subscribed
from harness.report import progress
from harness.report.progress import Progress

ROOT = Path(__file__).parents[3]
ALOUD = ROOT / ".ci/aloud"


def _work(silent: float) -> None:
    with subscribed(Progress()):
        publish("build.started", "a kernel")
        time.sleep(silent)
        publish("build.finished", "a kernel")


def test_silent_work_is_told_to_go_on(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.2)
    _work(silent=1.0)
    _work(silent=0.5)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith("build.started a kernel") and lines[-1].endswith("build.finished a kernel")
    assert sum("still: build.started a kernel" in line for line in lines) >= 2
    clock = [float(found[1]) for line in lines if (found := re.match(r"\[ *([\d.]+) s\]", line))]
    assert len(clock) == len(lines) and clock == sorted(clock), "of both pieces of work there is one clock"


def test_nothing_is_told_of_work_that_has_ended(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.05)
    _work(silent=0.0)
    time.sleep(0.5)
    assert "still:" not in capsys.readouterr().err.partition("build.finished")[2]


def test_what_is_not_shown_ends_silent_work_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lab that is up: what its command says is not interrupted by what was fetched before."""
    monkeypatch.setattr(progress, "PLAIN_SECONDS", 0.05)
    with subscribed(Progress()):
        publish("packages.fetching", "a kernel")
        time.sleep(0.3)
        publish("vm.up", "6.1")
        told = capsys.readouterr().err
        time.sleep(0.5)
    assert "still: packages.fetching" in told
    assert capsys.readouterr().err == ""


def test_a_command_that_says_nothing_is_told_each_10_s(tmp_path: Path) -> None:
    done = subprocess.run(
        [ALOUD, "some work", "sh", "-c", "echo a word; sleep 11"], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "")
    first, last = done.stderr.splitlines()
    assert re.fullmatch(r"some work: 1\d s: a word", first)
    assert re.fullmatch(r"some work: done in 1\d s", last)


def test_all_is_shown_of_a_command_that_fails() -> None:
    done = subprocess.run([ALOUD, "some work", "sh", "-c", "echo why; exit 3"], capture_output=True, text=True)
    assert done.returncode == 3
    assert done.stderr.splitlines()[0] == "why" and "failed after" in done.stderr.splitlines()[1]


def test_a_terminal_has_a_line_that_is_renewed() -> None:
    child = pexpect.spawn(str(ALOUD), ["some work", "sleep", "3"], encoding="utf-8", timeout=60)
    child.expect(r"\r\x1b\[Ksome work: \d s")
    child.expect(r"\r\x1b\[Ksome work: done in \d+ s|\r\x1b\[K")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_ctrl_c_ends_the_command_too(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    child = pexpect.spawn(
        str(ALOUD), ["some work", sys.executable, "-c", f"import time; open({str(mark)!r}, 'w'); time.sleep(300)"],
        encoding="utf-8", timeout=60,
    )  # fmt: skip
    child.expect("some work: 2 s")
    assert mark.exists()
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130 or child.signalstatus == 2
