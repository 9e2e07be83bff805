"""`osv-harness test --jobs`: tests in processes of their own, told in their order, none left behind."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from harness.cli import main

MARK = "OSV_HARNESS_SELFTEST_MARK"
NAMES = ["stress-ng-null", "stress-ng-nop", "stress-ng-cap"]
SOON = 900.0
"""Seconds after which something that was to happen did not; guests wait until other runs leave them a cpu."""


def test_verdicts_are_told_in_the_order_of_their_tests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OSV_ROOT", raising=False)
    assert main(["test", "linux:qemu-rofs", *NAMES, "--jobs", "2", "--forget", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["test"] for row in rows] == NAMES
    assert all(row["outcome"] == "passed" for row in rows)


def _marked(mark: str) -> dict[int, str]:
    """The processes that have inherited the mark, with their command lines."""
    found = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            try:
                if f"{MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                    found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
    return found


def _until(said: Callable[[], object], what: str) -> None:
    end = time.monotonic() + SOON
    while not said():
        assert time.monotonic() < end, f"{what} did not come within {SOON:.0f} s"
        time.sleep(0.05)


@pytest.fixture
def running(tmp_path: Path) -> "Iterator[tuple[subprocess.Popen[bytes], str]]":
    """A run of tests in whose processes a guest runs, and its mark."""
    mark = uuid4().hex
    environment = os.environ | {MARK: mark, "PYTHONPATH": str(Path(__file__).parents[3])}
    environment.pop("OSV_ROOT", None)
    words = [
        sys.executable,
        "-m",
        "harness.cli",
        "test",
        "linux:qemu-rofs",
        "stress-ng-*",
        "--jobs",
        "2",
        "--forget",
    ]
    process = subprocess.Popen(
        words, cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    _until(lambda: any("qemu-system" in line and "-kernel" in line for line in _marked(mark).values()), "a guest")
    yield process, mark
    process.kill()
    process.wait()


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_nothing_is_left_of_tests_whose_run_is_ended(
    number: signal.Signals, status: int, running: "tuple[subprocess.Popen[bytes], str]"
) -> None:
    process, mark = running
    assert len(_marked(mark)) > 2
    os.killpg(process.pid, number) if number == signal.SIGINT else process.send_signal(number)
    _, told = process.communicate(timeout=SOON)
    assert process.returncode == status
    assert b"Traceback" not in told and (b"semaphore" not in told or number == signal.SIGKILL)
    _until(lambda: not _marked(mark), "the end of all its processes")
