"""Forks of a booted OSv: which tests they run, and what of the boot they have. On real guests, by OSV_ROOT."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.cell import Cell
from harness.core.errors import HarnessError, HypervisorError
from harness.core.events import Event, subscribed
from harness.host.cache import Cache
from harness.kernels.symbols import Symbols
from harness.runner.base import Run
from harness.runner.osv import boot_snapshot
from harness.runner.osv import runner as osv_runner
from harness.runner.osv.runner import OsvRunner
from harness.runner.session import Session
from harness.runner.verdict import Outcome
from harness.vm.base import snapshots_of
from harness.vm.gdb_remote import GdbRemote
from harness.vm.registry import hypervisor


@pytest.fixture
def osv_cell(session: Session) -> Cell:
    if session.osv_root is None:
        pytest.skip("no OSv checkout is named (OSV_ROOT)")
    return session.cell("osv:x86_64-qemu-rofs")


def forking(session: Session, cell: Cell, folder: Path) -> OsvRunner:
    """A runner whose templates are made anew, in the folder."""
    driver, accelerator = hypervisor(cell.hypervisor), session.accelerator(cell)
    return OsvRunner(session.image(cell), driver, accelerator, Cache(folder), fork=True)


def origin(run: Run) -> str:
    """How the guest began that ran a program, which passed."""
    assert run.verdict.outcome is Outcome.PASSED, run.verdict.reason
    return run.origin


@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_osvs_tests_are_forked_where_it_is_asked_for(session: Session, osv_cell: Cell, arch: str) -> None:
    """A template has read its environment: a program with one of its own is booted."""
    cell = replace(osv_cell, arch=arch)
    asked = Session(session.osv_root, session.cache, fork=True)
    try:
        program = asked.program(cell, "tst-hello.so")
    except HarnessError as error:
        pytest.skip(f"OSv for {arch} can't be built here: {error.message}")
    own = replace(program, environment=(("A", "b"),))
    runs = [session.run(cell, program), asked.run(cell, program), asked.run(cell, own)]
    assert [origin(run) for run in runs] == ["booted", "forked", "booted"]


def test_forks_have_the_threads_of_the_boot(session: Session, osv_cell: Cell, tmp_path: Path) -> None:
    """OSv starts them when its first cpu is idle for the first time, which a boot may not have come to.

    The last to begin fill the pools of small objects, which `smp_allocator` tells; until then `malloc` is another.
    """
    template = forking(session, osv_cell, tmp_path).template(session.program(osv_cell, "tst-hello.so"))
    driver, kernel = snapshots_of(hypervisor("qemu")), session.image(osv_cell).symbols
    assert template and driver and kernel
    filled = Symbols(kernel, session.cache).data("smp_allocator")
    with closing(driver.fork(template)) as vm:
        assert vm.debug and filled
        assert GdbRemote(vm.debug, vm.pid).read(filled.address, 1) == b"\1"


def test_a_template_that_can_not_be_made_is_no_fault_of_the_tests(
    session: Session, osv_cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are booted. Here the template's main thread does not come back from its sleep in time."""
    monkeypatch.setattr(boot_snapshot, "SLEEP_MICROSECONDS", 3600_000_000)
    monkeypatch.setattr(osv_runner, "BOOT_SECONDS", 2.0)
    runner, program = forking(session, osv_cell, tmp_path), session.program(osv_cell, "tst-hello.so")
    with pytest.raises(HypervisorError, match=r"did not come back from usleep\(\)"):
        runner.template(program)
    told: list[Event] = []
    with subscribed(told.append):
        assert origin(runner.run(program)) == "booted"
    assert [one.kind for one in told if "did not come back" in one.detail] == ["template.failed"]


@pytest.mark.parametrize("name", ["firecracker", "gce"])
def test_nothing_is_forked_without_a_debug_stub(
    session: Session, osv_cell: Cell, tmp_path: Path, name: str
) -> None:
    image = session.image(osv_cell)
    program = session.program(osv_cell, "tst-hello.so")
    assert OsvRunner(image, hypervisor(name), "tcg", Cache(tmp_path), fork=True).template(program) is None
