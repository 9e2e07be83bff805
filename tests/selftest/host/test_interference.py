"""What the host does to a guest is noticed, and is the host's: a pause, a cpu that others have."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from crowd import crowd
from meddled import Meddled

from harness.host.interference import HostEffects, Pause
from harness.host.process.cpu_time import age, kept_waiting
from harness.runner.base import Program
from harness.runner.linux.runner import LinuxRunner
from harness.runner.session import Session
from harness.runner.verdict import Outcome
from harness.vm.base import Vm

PAUSE_SECONDS = 45.0
BUSY = "for i in 1 2; do while :; do sha256sum /bin/busybox; done > /dev/null & done; sleep 4; kill %1 %2; true"
LOOKS = """
import os, sys, time
from harness.host.interference import HostEffects
effects = HostEffects(os.getpid(), time.monotonic())
print("looks", flush=True)
while not effects.pauses:
    time.sleep(0.5)
    effects.look()
print(effects.pauses[0].how, effects.pauses[0].seconds)
"""


@contextmanager
def process(code: str) -> Iterator[subprocess.Popen[str]]:
    """A Python that runs the code."""
    started = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        yield started
    finally:
        started.kill()
        started.wait()


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """The process, stopped by a signal inside the block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def looked_at(effects: HostEffects, seconds: float) -> None:
    """Look as often as who waits for a guest does."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.5)
        effects.look()


def test_a_process_that_is_stopped_has_a_pause() -> None:
    with process("import time; time.sleep(1000)") as guest:
        effects = HostEffects(guest.pid, time.monotonic())
        looked_at(effects, 1.0)
        assert not effects.pauses and not effects.stopped
        with stopped(guest.pid):
            looked_at(effects, 4.0)
            assert effects.stopped
        looked_at(effects, 1.0)
        (pause,) = effects.pauses
        assert not effects.stopped and pause.how == "stopped the guest's process"
        assert effects.lost_seconds >= pause.seconds >= 2.0 and pause.at >= 0.5


def test_a_harness_that_is_stopped_with_its_guest_has_a_pause() -> None:
    """As where its whole runner is suspended, or moved to another host."""
    with process(LOOKS) as harness:
        assert harness.stdout and harness.stdout.readline() == "looks\n"
        with stopped(harness.pid):
            time.sleep(5.0)
        how, _, seconds = harness.stdout.readline().rpartition(" ")
    assert how == "stopped the harness and its guests" and float(seconds) > 2.0


def test_a_pause_explains_a_watchdog_only_for_a_while() -> None:
    effects = HostEffects(os.getpid(), 1000.0)
    effects._pauses = [Pause(10.0, 45.0, "was suspended")]
    assert not effects.disturbance(1005.0)
    assert effects.disturbance(1056.0) == "was suspended for 45 s"
    assert not effects.disturbance(1400.0)


def test_who_sleeps_is_not_kept_waiting() -> None:
    """It waited for most of the little time in which it wanted to run, and that is a small share of all."""
    with crowd(), process("import time; time.sleep(1000)") as sleeper:
        until = time.monotonic() + 60.0
        while (age(sleeper.pid) < 2.0 or kept_waiting(sleeper.pid) > 0.3) and time.monotonic() < until:
            time.sleep(0.2)
        assert 0.0 < kept_waiting(sleeper.pid) <= 0.3
    assert kept_waiting(sleeper.pid) == age(sleeper.pid) == 0.0, "it has gone"


def test_a_guest_that_its_host_pauses_is_never_blamed(session: Session) -> None:
    """Two busy cpus, stopped for longer than any watchdog waits: sometimes one speaks, sometimes none does."""
    cell = session.cell("linux:qemu-rofs")
    meddled = Meddled(pause)
    runner = LinuxRunner(session.image(cell), meddled, session.accelerator(cell), session.cache, 4)
    run = runner.run(Program("busy", BUSY, 60.0, cpus=2))
    meddled.assert_done()
    seen = run.verdict.observation
    (long,) = seen.pauses
    assert long.seconds == pytest.approx(PAUSE_SECONDS, abs=10.0)
    assert any("the host stopped the guest's process for" in note for note in run.notes)
    if run.verdict.outcome is Outcome.PASSED:
        assert not seen.faults
    else:
        assert run.verdict.outcome is Outcome.HARNESS_ERROR and {fault.kind for fault in seen.faults} == {
            "watchdog"
        }
        assert run.verdict.reason.startswith("the host stopped the guest's process for")


def pause(vm: Vm) -> None:
    """Stop QEMU for a while."""
    os.kill(vm.pid, signal.SIGSTOP)
    threading.Timer(PAUSE_SECONDS, os.kill, (vm.pid, signal.SIGCONT)).start()
