"""The real Cloud Hypervisor, where its binary is in PATH and a KVM runs guests: boots, ends, resets told apart."""

import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.cell import Cell
from harness.core.machine import Image, Machine
from harness.host.in_lab import lab_timeout
from harness.runner.base import Program
from harness.runner.guest import Guest
from harness.runner.osv.runner import OsvRunner
from harness.runner.session import Session
from harness.runner.verdict import Outcome
from harness.vm.base import ExitCause
from harness.vm.cloud_hypervisor.driver import CloudHypervisor

BOOT_SECONDS = 60.0


@pytest.fixture
def bootable(session: Session) -> Callable[[str], Image]:
    """Makes a real image of a kernel, where this host can boot it in Cloud Hypervisor."""

    def make(kernel: str) -> Image:
        if shutil.which("cloud-hypervisor") is None:
            pytest.skip("cloud-hypervisor is not in PATH")
        proof = session.host.probe(platform.machine(), "kvm") if Path("/dev/kvm").exists() else None
        if proof is None or not proof.answered:
            pytest.skip(f"KVM runs no guest here: {proof.detail if proof else 'there is no /dev/kvm'}")
        if kernel == "osv" and session.osv_root is None:
            pytest.skip("OSV_ROOT names no OSv checkout")
        return session.image(Cell(kernel, platform.machine(), "qemu", "rofs", "all"))

    return make


@pytest.mark.parametrize(
    ("command", "cause"), [("poweroff -f", ExitCause.POWERED_OFF), ("reboot -f", ExitCause.RESET)]
)
def test_debians_kernel_boots_and_its_end_is_told(
    bootable: Callable[[str], Image], command: str, cause: ExitCause
) -> None:
    image = bootable("linux")
    machine = Machine(image, f"{image.cmdline} -- {command}", 1, 256, "kvm")
    with Guest(machine, CloudHypervisor().start(machine)) as guest:
        guest.vm.resume()
        assert guest.wait(lambda: guest.closed, time.monotonic() + lab_timeout(BOOT_SECONDS)), _last(guest)
        exit_status = guest.vm.wait_for_exit(lab_timeout(BOOT_SECONDS))
        assert exit_status is not None
        assert exit_status.cause is cause, _last(guest)


def test_osv_boots_runs_its_program_and_ends(session: Session, bootable: Callable[[str], Image]) -> None:
    image = bootable("osv")
    image = replace(image, cell=replace(image.cell, hypervisor="cloud_hypervisor"))
    program = Program("hello", "/tests/tst-hello.so", lab_timeout(BOOT_SECONDS))
    run = OsvRunner(image, CloudHypervisor(), "kvm", session.cache).run(program)
    assert run.verdict.outcome is Outcome.PASSED, (run.verdict.reason, [line.text for line in run.verdict.lines])


def _last(guest: Guest) -> list[str]:
    return [line.text for line in guest.transcript.tail(20)]
