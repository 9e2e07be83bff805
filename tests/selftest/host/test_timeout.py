"""A limit on an answer is of the answerer's own time: a starved process is waited for, a silent one is not."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from harness.host.process import timeout
from harness.host.process.timeout import CpuFairTimeout, run_with_timeout

LIMIT = 0.1
LONG = 60.0  # seconds; only a process that is not starved needs them
BUSY = "import os\nparent = os.getppid()\nwhile os.getppid() == parent: pass"


@contextmanager
def running(code: str, cpu: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A Python that runs the code, on one cpu alone if that is named."""
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        if cpu is not None:
            os.sched_setaffinity(process.pid, {cpu})
        yield process
    finally:
        process.kill()
        process.wait()


def test_a_starved_process_is_waited_for() -> None:
    """Three share a cpu: each is kept waiting for two thirds of the time, and that is granted."""
    cpu = min(os.sched_getaffinity(0))
    with ExitStack() as stack:
        starved, *_ = [stack.enter_context(running(BUSY, cpu)) for _ in range(3)]
        patience = CpuFairTimeout(starved.pid, LIMIT)
        assert [patience.seconds() for _ in range(2)] == [LIMIT, LIMIT]  # the first moment, and the limit
        until = time.monotonic() + LONG
        granted = 0.0
        while granted < 2 * LIMIT and time.monotonic() < until:
            time.sleep(LIMIT)
            granted += patience.seconds()
        assert granted >= 2 * LIMIT


def test_what_answers_at_once_costs_no_look_at_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    monkeypatch.setattr(timeout, "starved_seconds", lambda pid: looks.append(pid) or 0.0)
    patience = CpuFairTimeout(1, LONG)
    assert 0 < patience.seconds() < LONG and not looks
    assert patience.seconds() == LONG and looks == [1]


def test_children_count_too() -> None:
    """QEMU moves a guest's state through a child, whose starvation is its own."""
    cpu = min(os.sched_getaffinity(0))
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {BUSY!r}], timeout={LONG})"
    with running(BUSY, cpu), running(BUSY, cpu), running(parent, cpu) as starved:
        patience = CpuFairTimeout(starved.pid, LIMIT)
        patience.seconds()
        until = time.monotonic() + LONG
        granted = 0.0
        while granted < 20 * LIMIT and time.monotonic() < until:
            time.sleep(LIMIT)
            granted += patience.seconds()
        assert granted >= 20 * LIMIT


@pytest.mark.parametrize("stopped", [False, True], ids=["sleeps", "is stopped"])
def test_a_silent_process_is_given_up(stopped: bool) -> None:
    with running("import time; time.sleep(1000)") as silent:
        if stopped:
            silent.send_signal(signal.SIGSTOP)
        patience = CpuFairTimeout(silent.pid, LIMIT)
        until = time.monotonic() + LONG
        while (left := patience.seconds()) and time.monotonic() < until:
            time.sleep(left)
        assert not left


def test_one_that_is_gone_is_given_up() -> None:
    with running("") as gone:
        gone.wait()
        patience = CpuFairTimeout(gone.pid, LIMIT)
        until = time.monotonic() + LONG
        while (left := patience.seconds()) and time.monotonic() < until:
            time.sleep(left)
        assert not left


def test_a_program_has_its_limit_in_its_own_time() -> None:
    """One that sleeps is ended at its limit; one that ends is heard."""
    done = run_with_timeout([sys.executable, "-c", "print(1); raise SystemExit(3)"], LONG)
    assert (done.returncode, done.stdout) == (3, b"1\n")
    with pytest.raises(subprocess.TimeoutExpired):
        run_with_timeout(["sleep", "1000"], LIMIT)
