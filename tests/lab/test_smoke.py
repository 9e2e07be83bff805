"""What `tox -e lab` runs in a lab: guests on its KVM, on each of its machines, that end well, crash and hang.

All that it boots is built before the lab starts, for nothing is built in it.
"""

import platform
import shutil
import time
from contextlib import closing

import pytest

from harness.core.cell import Cell
from harness.core.errors import HarnessError
from harness.core.machine import Machine
from harness.host.in_lab import in_lab
from harness.runner.base import Program, Run
from harness.runner.guest import Guest
from harness.runner.osv.runner import OsvRunner
from harness.runner.session import Session
from harness.runner.verdict import Outcome
from harness.vm.base import ExitCause
from harness.vm.registry import hypervisor

pytestmark = pytest.mark.skipif(not in_lab(), reason="this is no lab: `tox -e lab`, or pytest with --lab")

ARCH = platform.machine()
LINUX = f"linux:{ARCH}-qemu-rofs"
BOARDS = {"x86_64": ("qemu", "qemu_microvm"), "aarch64": ("qemu",)}
OSV = [f"osv:{ARCH}-{board}-rofs" for board in BOARDS[ARCH]]
ENOUGH = 300.0  # seconds: what no guest but one that hangs is to need
HANG = 10.0  # seconds that one that hangs is watched for


def test_a_fork_of_linux_passes(session: Session) -> None:
    cell = session.cell(LINUX)
    assert session.accelerator(cell) == "kvm"
    run = _run(session, cell, "uname -r")
    assert run.verdict.outcome is Outcome.PASSED, _told(run)
    assert run.origin == "forked"
    assert "kvm" in run.command
    assert session.recorded_accelerator(cell) == "kvm in a lab"


@pytest.mark.parametrize(
    ("command", "outcome", "reason"),
    [
        ("exit 3", Outcome.FAILED, "status 3"),
        ("echo c > /proc/sysrq-trigger", Outcome.CRASHED, "Kernel panic - not syncing: sysrq triggered crash"),
        ("sleep 1000", Outcome.HUNG, "nothing ran any more"),
    ],
    ids=["fails", "crashes", "hangs"],
)
def test_what_goes_wrong_is_told_as_outside(session: Session, command: str, outcome: Outcome, reason: str) -> None:
    run = _run(session, session.cell(LINUX), command, HANG if outcome is Outcome.HUNG else ENOUGH)
    assert (run.verdict.outcome, reason in run.verdict.reason) == (outcome, True), _told(run)


@pytest.mark.parametrize("name", OSV)
def test_osv_says_hello(session: Session, name: str) -> None:
    """The image is one that was built outside."""
    if session.osv_root is None:
        pytest.skip("no OSv checkout is named (OSV_ROOT)")
    cell = session.cell(name)
    try:
        program = session.program(cell, "tst-hello.so")
    except HarnessError as error:
        pytest.skip(f"its image was not built outside: {error.message}")
    run = session.run(cell, program)
    assert b"Hello" in bytes(run.transcript.raw), _told(run)
    assert run.verdict.outcome is Outcome.PASSED, _told(run)


def test_a_fork_of_osv_passes_and_another_fails(session: Session) -> None:
    """Of one snapshot, two clones with a command each."""
    if session.osv_root is None:
        pytest.skip("no OSv checkout is named (OSV_ROOT)")
    cell = session.cell(OSV[0])
    try:
        image = session.image(cell)
    except HarnessError as error:
        pytest.skip(f"its image was not built outside: {error.message}")
    runner = OsvRunner(image, hypervisor(cell.hypervisor), session.accelerator(cell), session.cache, fork=True)
    found = {name: runner.run(session.program(cell, name)) for name in ("tst-hello.so", "tst-utimes.so")}
    outcomes = {name: (run.origin, run.verdict.outcome) for name, run in found.items()}
    assert outcomes == {
        "tst-hello.so": ("forked", Outcome.PASSED),
        "tst-utimes.so": ("forked", Outcome.FAILED),
    }, [_told(run) for run in found.values()]


def test_firecracker_boots_debians_kernel(session: Session) -> None:
    if shutil.which("firecracker") is None:
        pytest.skip("firecracker is not in PATH")
    image = session.image(session.cell(LINUX))
    machine = Machine(image, f"{image.cmdline} -- reboot -f", 1, 256, "kvm")
    with closing(hypervisor("firecracker").start(machine)) as vm, Guest(machine, vm) as guest:
        vm.resume()
        assert guest.wait(lambda: guest.closed, time.monotonic() + ENOUGH), bytes(guest.transcript.raw)[-2000:]
        exit_status = vm.wait_for_exit()
        assert exit_status is not None
        assert exit_status.cause is ExitCause.POWERED_OFF


def _run(session: Session, cell: Cell, command: str, limit: float = ENOUGH) -> Run:
    return session.runner(cell).run(Program("smoke", command, limit))


def _told(run: Run) -> str:
    return f"{run.verdict.reason}\n{bytes(run.transcript.raw)[-2000:].decode(errors='replace')}"
