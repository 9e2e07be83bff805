"""A guest that the host starves: it is noticed, and what fails in one runs again before the kernel is blamed."""

import os
import time
from contextlib import closing

import pytest
from crowd import crowd

from harness.core.events import Event, subscribed
from harness.core.machine import Machine
from harness.host.process.cpu_time import kept_waiting
from harness.runner import guest
from harness.runner.base import Program
from harness.runner.guest import Guest
from harness.runner.observation import STARVED, Activity, Observation
from harness.runner.session import Session
from harness.runner.verdict import Outcome
from harness.vm.registry import hypervisor

COUNTS = "i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done"
FAILS = f"sh -c '{COUNTS}; exit 1'"


def test_who_shares_a_cpu_with_others_is_kept_waiting() -> None:
    with crowd() as (first, *_):
        while kept_waiting(first.pid) < 0.5:
            os.sched_yield()
        assert kept_waiting(first.pid) < 1
    assert kept_waiting(first.pid) == 0, "it has gone"


def test_what_fails_in_a_starved_guest_runs_again_and_says_so(session: Session) -> None:
    cell = session.cell("linux:qemu-rofs")
    session.runner(cell).prepare()
    heard: list[Event] = []
    with crowd(6), subscribed(heard.append):
        run = session.run(cell, Program("fails", FAILS, 60.0))
    assert run.verdict.outcome is Outcome.FAILED, run.verdict.reason
    assert [event.detail for event in heard if event.kind == "guest.starved"] == ["fails runs again, alone"]
    (note,) = run.notes
    assert note.startswith("The first run failed (the program ended with status 1), while the host kept its guest")


def test_what_passes_in_a_starved_guest_has_passed(session: Session) -> None:
    cell = session.cell("linux:qemu-rofs")
    session.runner(cell).prepare()
    with crowd(6):
        run = session.run(cell, Program("counts", f"sh -c '{COUNTS}'", 60.0))
    assert run.verdict.outcome is Outcome.PASSED and run.verdict.observation.starved and not run.notes


LATE = f"sh -c 'sleep 15; {COUNTS.replace('30000', '10000')}; exit 1'"


def test_what_fails_late_in_a_guest_that_sleeps_runs_again_if_it_was_kept_waiting(session: Session) -> None:
    """It waits for a small share of its time, and for most of the time in which it wants a cpu."""
    cell = session.cell("linux:qemu-rofs")
    session.runner(cell).prepare()
    with crowd(6):
        run = session.run(cell, Program("late", LATE, 60.0))
    assert run.first
    seen = run.first.verdict.observation
    assert seen.kept_waiting <= STARVED < seen.steal
    assert "of the time in which it wanted a cpu" in run.notes[-1]


@pytest.mark.parametrize(
    ("waited", "steal", "seconds", "starved"),
    [
        (0.5, 0.5, 60, False),
        (0.51, 0.51, 60, True),
        (0.123, 0.75, 12.8, True),  # tst-timerfd.so, whose tolerance is 200 ms, beside four guests on two cpus
        (0.031, 0.508, 12.5, True),  # and beside a build, late by 100 ms
        (0.005, 0.75, 12.8, False),
        (0.4, 0.49, 60, False),
    ],
)
def test_what_a_starved_guest_is(waited: float, steal: float, seconds: float, starved: bool) -> None:
    seen = Observation(booted=True, kept_waiting=waited, steal=steal, seconds=seconds)
    assert seen.starved == starved


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
@pytest.mark.parametrize(("does", "waits"), [("sleep 1000", True), ("while :; do :; done", False)])
def test_a_vcpu_that_waits_is_idle_however_much_its_interrupts_take(
    session: Session, monkeypatch: pytest.MonkeyPatch, arch: str, does: str, waits: bool
) -> None:
    """As under KVM on a host that starves it: no share of a cpu is small enough to be called idle."""
    cell = session.cell(f"linux:{arch}-qemu-rofs")
    session.check_runs(cell)
    image, accelerator = session.image(cell), session.accelerator(cell)
    machine = Machine(image, f"{image.cmdline} -- echo ready; {does}", 1, 256, accelerator)
    monkeypatch.setattr(guest, "IDLE_SHARE", 0.0)
    with closing(hypervisor("qemu").start(machine)) as vm, Guest(machine, vm) as started:
        vm.resume()
        assert started.wait(lambda: b"ready" in bytes(started.transcript.raw), time.monotonic() + 120)
        started.wait_for_quiet(2, 10)
        assert (started.activity(time.monotonic(), 0.1) is Activity.IDLE) == waits
