"""What can happen to the harness itself: a signal, a full disk. No guest survives it, and no kernel is blamed."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest

from harness.runner.base import Program
from harness.runner.session import Session

MARK = "OSV_HARNESS_SELFTEST_RUN"
HANGS = """
from harness.runner.base import Program

def test_hang(harness_session):
    harness_session.run(harness_session.cell("{cell}"), Program("hang", "echo hanging; sleep 1000", 1000))

def test_fail(harness_session, run_guest):
    program = Program("fail", "head -c 200000 /dev/zero | tr '\\\\0' x; exit 1", 120)
    run_guest(harness_session.cell("{cell}"), program)
"""


class RunningPytest:
    """A pytest of the harness in a process of its own, its processes known by a mark in their environment."""

    def __init__(self, folder: Path, session: Session, *arguments: str) -> None:
        self.temporary = folder / "temporary"
        self.temporary.mkdir()
        cell = session.cell(f"linux:{os.uname().machine}-qemu-rofs-all")
        session.runner(cell).prepare()
        (folder / "test_guest.py").write_text(HANGS.format(cell=cell))
        self._mark = f"{MARK}={uuid4().hex}"
        name, value = self._mark.split("=")
        where = [str(folder / "test_guest.py"), "--rootdir", str(folder)]
        options = ["-p", "harness.integrations.pytest_plugin.plugin", "-p", "no:cacheprovider", "-c", os.devnull]
        self.process = subprocess.Popen(
            # Whoever runs these tests in the background may have had them ignore Ctrl-C.
            ["env", "--default-signal=INT", sys.executable, "-m", "pytest", *where, *options, *arguments],
            env={**os.environ, name: value, "TMPDIR": str(self.temporary)}, cwd=Path(__file__).parents[3],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip

    def guests(self) -> set[int]:
        """The session's QEMU processes."""
        found = set()
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                marked = self._mark.encode() in (path / "environ").read_bytes().split(b"\0")
                if marked and (path / "exe").resolve().name.startswith("qemu-system"):
                    found.add(int(path.name))
        return found

    def wait_for_guest(self) -> None:
        """Until a guest's process runs."""
        deadline = time.monotonic() + 120
        while not self.guests():
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.1)

    def leaves_nothing(self) -> None:
        """No guest of it is left, nor a file in its folder for temporary files."""
        deadline = time.monotonic() + 20
        while self.guests() and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not self.guests()
        assert not list(self.temporary.iterdir())


@contextmanager
def running_pytest(folder: Path, session: Session, *arguments: str) -> Iterator[RunningPytest]:
    """Ends it, whatever became of the test."""
    made = RunningPytest(folder, session, *arguments)
    try:
        yield made
    finally:
        made.process.kill()
        made.process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=str)
def test_no_guest_survives_the_end_of_the_harness(
    session: Session, tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C goes to the foreground's processes, and a guest is none; kill -9 leaves no time to end it."""
    with running_pytest(tmp_path, session, "-k", "hang", "--runs", str(tmp_path / "runs")) as running:
        running.wait_for_guest()
        os.killpg(running.process.pid, number)
        said, _ = running.process.communicate(timeout=60)
        running.leaves_nothing()
        assert running.process.returncode == {signal.SIGINT: 2}.get(number, -number), said
        assert "INTERNALERROR" not in said


def test_a_full_disk_for_evidence_is_said_plainly(session: Session, tmp_path: Path, tiny_disk: Path) -> None:
    (tiny_disk / "ballast").write_bytes(bytes(900_000))
    with running_pytest(tmp_path, session, "-k", "fail", "--runs", str(tiny_disk)) as running:
        said, _ = running.process.communicate(timeout=300)
        assert running.process.returncode == 1, said
        assert "harness_error" in said
        assert "No space left on device" in said
        assert "the program ended with status 1" in said
        assert "Traceback" not in said


@pytest.mark.parametrize(("ballast", "reason"), [(0, "io-error"), (2 << 20, "No space left on device")])
def test_a_full_disk_under_a_guests_disk_is_not_the_kernels_fault(
    session: Session, tiny_disk: Path, monkeypatch: pytest.MonkeyPatch, ballast: int, reason: str
) -> None:
    """What a guest writes goes to a temporary overlay: it fills the disk, or finds it full already."""
    cell = session.cell(f"linux:{os.uname().machine}-qemu-ext-all")
    runner = session.runner(cell)
    program = Program("fills", "dd if=/dev/zero of=/var/fill bs=1M count=64; sync; echo written; sleep 100", 8)
    runner.run(Program("none", "true", 60))  # makes the template where there is room
    with suppress(OSError):
        (tiny_disk / "ballast").write_bytes(bytes(ballast))
    monkeypatch.setattr(tempfile, "tempdir", str(tiny_disk))
    run = runner.run(program)
    shown = "\n".join(line.text for line in run.verdict.lines)
    assert run.verdict.outcome == "harness_error", f"{run.verdict.reason}\n{shown}"
    assert reason in run.verdict.reason
