"""Verdicts are in the history after a run, unless it was told not to; a history that fails hides no verdict."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from harness.metrics.history.store import History
from harness.metrics.records import Document
from harness.metrics.verdict_writer import Verdicts
from harness.runner.base import Program
from harness.runner.session import Session

ROOT = Path(__file__).parents[3]
CELL, TEST = "linux:qemu-rofs", "stress-ng-nop"
BY_PYTEST = ("pytest", "tests/unit", "--cell", CELL, "-k", TEST, "-p", "no:cacheprovider", "-q")
BY_COMMAND = ("harness.cli", "test", CELL, TEST)


def run(history: Path, runs: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment["OSV_HARNESS_HISTORY"] = str(history)
    command = [sys.executable, "-m", *words, "--runs", str(runs)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)


def kept(history: Path) -> list[tuple[str, str, bool]]:
    with History(history) as opened:
        return [(one.test, one.outcome, one.expected) for one in opened.judged()]


@pytest.mark.parametrize(
    "words", [BY_PYTEST, (*BY_PYTEST, "-n", "2"), BY_COMMAND], ids=["alone", "workers", "test"]
)
def test_verdicts_are_kept_by_default(words: tuple[str, ...], tmp_path: Path) -> None:
    done = run(tmp_path / "h.sqlite", tmp_path / "runs", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert kept(tmp_path / "h.sqlite") == [(TEST, "passed", True)]


@pytest.mark.parametrize("workers", ["0", "2"])
def test_verdicts_and_samples_of_one_session_are_of_one_run(workers: str, tmp_path: Path) -> None:
    """Also where several processes of it took them."""
    words = ("pytest", "tests/unit", "tests/perf", "--cell", CELL, "-n", workers, "-p", "no:cacheprovider", "-q")
    done = run(tmp_path / "h.sqlite", tmp_path / "runs", *words, "-k", f"{TEST}] or rofs-all/size]")
    assert done.returncode == 0 and "2 passed" in done.stdout, done.stdout + done.stderr
    with History(tmp_path / "h.sqlite") as history:
        judged, samples = list(history.judged()), history.samples()
    assert [one.test for one in judged] == [TEST] and "size.kernel" in {one.metric.name for one in samples}
    assert len({one.run for one in (*judged, *samples)}) == 1


@pytest.mark.parametrize("words", [BY_PYTEST, BY_COMMAND], ids=["pytest", "test"])
def test_verdicts_are_not_kept_by_one_that_was_told_so(words: tuple[str, ...], tmp_path: Path) -> None:
    done = run(tmp_path / "h.sqlite", tmp_path / "runs", *words, "--forget")
    assert done.returncode == 0, done.stdout + done.stderr
    assert not (tmp_path / "h.sqlite").exists()


@pytest.mark.parametrize(("words", "status"), [(BY_PYTEST, 3), (BY_COMMAND, 2)], ids=["pytest", "test"])
@pytest.mark.parametrize("named", [False, True])
def test_a_history_that_fails_hides_no_verdict(
    words: tuple[str, ...], status: int, named: bool, tmp_path: Path
) -> None:
    """Who names a place on the command line wants them there; nobody else's run turns red for it."""
    (tmp_path / "file").touch()
    history = tmp_path / "file/no/h.sqlite"
    done = run(history, tmp_path / "runs", *words, *(["--history", str(history)] if named else []))
    said = done.stdout + done.stderr
    assert "passed" in said and "can't be made" in said and "Traceback" not in said
    assert done.returncode == (status if named else 0), said


def test_a_failure_that_was_not_expected_brings_the_end_of_its_console(session: Session) -> None:
    """Its lines are a guest's words, without controls; who expects a failure keeps none, nor does a pass."""
    image = session.image(session.cell("linux:qemu-ramfs"))
    said = r"printf 'one\nt\033[31mwo\n'"
    failed, passed = (
        session.run_on(image, Program("says", f"sh -c {shlex.quote(f'{said}; {ends}')}", 60))
        for ends in ("false", "true")
    )
    verdicts = Verdicts(session, "a-run")
    judged, console = verdicts.of(image, failed, expected=False)
    assert isinstance(console, Document) and console.id == f"{judged.id}-console"
    lines = console.body["lines"]
    assert lines[lines.index("one") + 1] == "two" and all(map(str.strip, lines))
    assert len(verdicts.of(image, failed, expected=True)) == len(verdicts.of(image, passed, expected=False)) == 1
