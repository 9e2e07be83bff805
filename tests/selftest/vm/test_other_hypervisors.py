"""Xen, VMware, VirtualBox, HyperKit, Hyper-V, AWS and GCE as far as a host without them can show.

Tools that no package brings are stood in for in their transport only, which boots nothing.
"""

import os
import re
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from bootable_machine import maker
from tool_standin import SAID

from harness.core.errors import HostError, HypervisorError
from harness.core.machine import Machine
from harness.core.matrix import Matrix
from harness.host.availability import AvailabilityCheck, Support
from harness.host.requirements import REQUIREMENTS
from harness.runner.guest import Guest
from harness.runner.session import Session
from harness.vm.base import ExitCause, Vm
from harness.vm.common.cloud_vm import unheard
from harness.vm.common.serial_socket import SerialSocket
from harness.vm.registry import driver_names, hypervisor

HERE = Path(__file__).parents[1] / "support"
TOOLS = {"xen": ("xl",), "vmware": ("vmrun",), "virtualbox": ("VBoxManage", "VBoxHeadless"), "gce": ("gcloud",)}
LOCAL = ("xen", "vmware", "virtualbox")


@pytest.fixture
def machine(tmp_path: Path) -> Callable[[str], Machine]:
    """Makes a machine of a hypervisor, with a disk that a firmware would boot and a second one."""
    return maker(tmp_path)


@dataclass(frozen=True)
class StandIn:
    """A hypervisor whose tools are the stand-in, which plays with files in a folder."""

    name: str
    machine: Machine
    folder: Path

    def start(self) -> Vm:
        return hypervisor(self.name).start(self.machine)

    def said(self) -> str:
        log = self.folder / "log"
        return log.read_text() if log.exists() else ""


@pytest.fixture(params=[*LOCAL, "gce"])
def standin(
    request: pytest.FixtureRequest, machine: Callable[[str], Machine], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[StandIn]:  # fmt: skip
    """The stand-in as the first tool in PATH; after the test no machine, process or file is left."""
    name: str = request.param
    programs, folder = tmp_path / "bin", tmp_path / "standin"
    for path in (programs, folder):
        path.mkdir()
    short = tempfile.TemporaryDirectory(dir="/tmp")  # sockets are made in it, whose names are short
    request.addfinalizer(short.cleanup)
    temporary = Path(short.name)
    for tool in TOOLS[name]:
        script = programs / tool
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {HERE / "tool_standin.py"} "$0" "$@"\n')
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("OSV_HARNESS_STANDIN", str(folder))
    monkeypatch.setenv("OSV_HARNESS_GCE_BUCKET", "bucket")
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr("harness.vm.common.cloud_vm.POLL_SECONDS", 0.05)
    monkeypatch.setattr("harness.vm.gce.driver.GIB", 1 << 20)
    yield StandIn(name, machine(name), folder)
    assert _soon(lambda: not (folder / "runs").exists()), "a machine is left"
    assert _soon(lambda: not list(temporary.iterdir())), "a file is left"
    assert _soon(lambda: not _processes(str(tmp_path))), "a process is left"


def test_a_machine_is_made_and_started_and_its_console_heard(standin: StandIn) -> None:
    with closing(standin.start()) as vm:
        assert SAID.encode() not in _available(vm)
        vm.resume()
        with Guest(standin.machine, vm) as guest:
            guest.console.expect(SAID, timeout=30)
            assert vm.hypervisor_error() == ""
            assert vm.wait_for_exit(0.0) is None
            vm.stop()
            exit_status = vm.wait_for_exit(30)
            assert exit_status is not None
            assert exit_status.cause is ExitCause.STOPPED


def test_an_end_of_its_own_is_told_and_closes_the_console(standin: StandIn) -> None:
    with closing(standin.start()) as vm, Guest(standin.machine, vm) as guest:
        vm.resume()
        guest.console.expect(SAID, timeout=30)
        (standin.folder / "runs").unlink()
        assert guest.wait(lambda: guest.closed, time.monotonic() + 30)
        exit_status = vm.wait_for_exit(30)
        assert exit_status is not None
        # On Xen a kernel that halts for good has the same reason as one that powered off.
        assert exit_status.cause is (ExitCause.OFF_OR_HALTED if standin.name == "xen" else ExitCause.POWERED_OFF)


@pytest.mark.parametrize("standin", ["xen"], indirect=True)
@pytest.mark.parametrize(
    ("reason", "cause"), [(1, ExitCause.RESET), (3, ExitCause.PANICKED), (4, ExitCause.KILLED)]
)
def test_xens_reason_of_an_end_is_told(standin: StandIn, reason: int, cause: ExitCause) -> None:
    (standin.folder / "why").write_text(str(reason))
    with closing(standin.start()) as vm:
        assert [(vcpu.pc, vcpu.cpu_seconds) for vcpu in vm.vcpus()] == [(None, 12.5)]
        (standin.folder / "runs").unlink()
        exit_status = vm.wait_for_exit(30)
        assert exit_status is not None
        assert exit_status.cause is cause


@pytest.mark.parametrize("standin", ["xen"], indirect=True)
def test_the_disk_of_xens_hvm_has_the_command_line(standin: StandIn) -> None:
    machine = standin.machine
    with closing(standin.start()) as vm:
        read = (standin.folder / "runs").read_text()
        paths = re.findall(r"target=([^\"]+)", read)
        assert [Path(path).name for path in paths] == ["disk0.raw", "disk1.raw"]
        boots = Path(paths[0]).read_bytes()
        assert boots[510:].startswith(b"\x55\xaa" + machine.cmdline.encode() + b"\0")
        vm.stop()


@pytest.mark.parametrize("standin", ["xen"], indirect=True)
def test_a_xen_domain_that_has_only_its_name_is_not_there(
    standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its console has no pty yet, and it would be unpaused while it is built."""
    monkeypatch.setattr("harness.vm.xen.driver.CREATE_SECONDS", 5.0)
    (standin.folder / "unbuilt").touch()
    with pytest.raises(HypervisorError, match="built no domain"):
        standin.start()
    assert "create" in standin.said()
    assert "console" not in standin.said()


@pytest.mark.parametrize("standin", ["gce"], indirect=True)
def test_a_cloud_that_answers_no_more_says_nothing_of_the_end(
    standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is no power-off, by which a test could pass."""
    with closing(standin.start()) as vm, Guest(standin.machine, vm) as guest:
        vm.resume()
        guest.console.expect(SAID, timeout=30)
        monkeypatch.setenv("OSV_HARNESS_STANDIN_REFUSES", "instances describe")
        assert guest.wait(lambda: guest.closed, time.monotonic() + 30)
        exit_status = vm.wait_for_exit(30)
        assert exit_status is not None and exit_status.cause is ExitCause.KILLED
        assert "out of luck" in exit_status.detail and "\x1b" not in exit_status.detail


@pytest.mark.parametrize("standin", LOCAL, indirect=True)
def test_a_tool_that_fails_is_quoted_safely(standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    refuses = {"xen": "xl create", "vmware": "vmrun start", "virtualbox": "storagectl"}[standin.name]
    monkeypatch.setenv("OSV_HARNESS_STANDIN_REFUSES", refuses)
    with pytest.raises(HypervisorError, match="out of luck") as caught:
        standin.start()
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("name", [*LOCAL, "gce", "aws"])
def test_a_tool_that_is_missing_is_named_with_its_cure(
    machine: Callable[[str], Machine], name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    if name == "xen" and Path("/usr/sbin/xl").exists():
        pytest.skip("this host has xl")
    with pytest.raises(HostError) as caught:
        hypervisor(name).start(machine(name))
    assert "missing" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize("name", ["hyperkit", "hyperv"])
def test_what_no_linux_host_has_is_refused_with_another_way(machine: Callable[[str], Machine], name: str) -> None:
    with pytest.raises(HostError) as caught:
        hypervisor(name).start(machine(name))
    assert "qemu" in caught.value.hint


@pytest.mark.parametrize("name", [*LOCAL, "aws", "gce", "openstack"])
@pytest.mark.parametrize("change", [{"control": True}, {"deterministic": True}, {"network": True}])
def test_what_they_lack_is_refused(machine: Callable[[str], Machine], name: str, change: dict[str, bool]) -> None:
    with pytest.raises(HypervisorError) as caught:
        hypervisor(name).start(replace(machine(name), **change))  # type: ignore[arg-type]
    assert "qemu" in caught.value.hint


def test_a_folder_with_too_long_a_name_for_a_socket_is_named(tmp_path: Path) -> None:
    (tmp_path / ("x" * 100)).mkdir()
    with pytest.raises(HostError, match="too long") as caught:
        SerialSocket(tmp_path / ("x" * 100) / "serial")
    assert "TMPDIR" in caught.value.hint


@pytest.mark.parametrize("standin", LOCAL, indirect=True)
def test_a_killed_harness_leaves_no_machine(standin: StandIn, tmp_path: Path) -> None:
    """SIGKILL: the reaper ends the machine, and removes its folder."""
    machine = standin.machine
    source = f"""
import sys, time
sys.path[:0] = [{str(HERE.parents[2])!r}]
from harness.core.machine import *
from harness.core.cell import Cell
from pathlib import Path
from harness.vm.registry import hypervisor
disk = Disk(Path({str(machine.image.disks[0].path)!r}), "qcow2")
cell = Cell("osv", "x86_64", {standin.name!r}, "rofs", "all")
machine = Machine(Image(cell, Path({str(machine.image.kernel)!r}), "", "digest", (disk,)), "/hello")
vm = hypervisor({standin.name!r}).start(machine)
print("started", flush=True)
time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE) as harness:
        assert harness.stdout
        assert harness.stdout.readline() == b"started\n"
        harness.send_signal(signal.SIGKILL)
    if standin.name == "virtualbox":  # its machine is our child, and the stand-in's file is not
        (standin.folder / "runs").unlink()


def test_of_a_clouds_output_what_is_new_is_passed_on() -> None:
    assert unheard(b"", b"one") == b"one"
    assert unheard(b"one", b"one two") == b" two"
    assert unheard(b"one two", b"one two") == b""
    said = b"".join(b"line %d\n" % number for number in range(100))
    assert unheard(said, said[300:] + b"more") == b"more"
    assert unheard(said, said[300:]) == b""
    assert unheard(said, said[:300]) == b"", "the cloud answered as it did before"


def test_of_a_clouds_output_what_is_missing_is_not_taken_for_new() -> None:
    """A few equal bytes are chance."""
    said = b"".join(b"line %d\n" % number for number in range(100))
    assert unheard(b"one", b"two") is None
    assert unheard(said, b"line 99\n" + b"x" * 500) is None
    assert unheard(said, b"\n") is None
    assert unheard(said + b"a" * 100, b"a" * 70 + b"b" * 500) == b"b" * 500


def test_every_hypervisor_of_the_matrix_is_driven_and_says_what_its_host_must_have(session: Session) -> None:
    matrix = Matrix.load()
    assert set(matrix.axes["hypervisor"].values) <= driver_names()
    survey = AvailabilityCheck(matrix, session.host, driver_names(), Path("/osv"))
    for name in set(matrix.axes["hypervisor"].values) - {"qemu", "qemu_microvm"}:
        cells = [cell for cell in matrix.cells("osv") if cell.hypervisor == name and not matrix.invalid(cell)]
        found = survey.of(next(cell for cell in cells if cell.fs != "virtiofs"))
        assert found.support is not Support.NOT_DRIVEN
        rules = [rule for rule in matrix.host_rules if rule.when.get("hypervisor") == frozenset({name})]
        assert [need for rule in rules for need in rule.needs if need in REQUIREMENTS], name


def _available(vm: Vm) -> bytes:
    """What the console has to say without waiting."""
    os.set_blocking(vm.console.fileno(), False)
    try:
        return os.read(vm.console.fileno(), 4096)
    except BlockingIOError:
        return b""
    finally:
        os.set_blocking(vm.console.fileno(), True)


def _soon(done: Callable[[], bool]) -> bool:
    for _ in range(200):
        if done():
            return True
        time.sleep(0.05)
    return False


def _processes(mark: str) -> list[int]:
    """The other processes with the mark on their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if mark.encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found
