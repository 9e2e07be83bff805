"""Firecracker and Cloud Hypervisor as far as a host without them can show: what they are sent is right by their
published schemas, and what goes wrong is told, and leaves nothing.

The server that answers here is made from the schema and stands in for the transport only. It boots nothing.
"""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from openapi import OpenApi
from rest_standin import ECHO_PORT, SAID

from harness.cell import Cell
from harness.errors import HostError, HypervisorError
from harness.guest import Guest
from harness.host_needs import ELSEWHERE
from harness.hypervisors import Cause, Template, Vm, forking, hypervisor
from harness.hypervisors import _cloud_hypervisor_requests as cloud_hypervisor
from harness.hypervisors import _firecracker_requests as firecracker
from harness.hypervisors import _rest as rest
from harness.hypervisors._rest import Request
from harness.machine import Devices, Disk, Image, Machine

HERE = Path(__file__).parent
BINARIES = {"firecracker": "firecracker", "cloud_hypervisor": "cloud-hypervisor"}
SCHEMAS = {"firecracker": "firecracker-1.17", "cloud_hypervisor": "cloud-hypervisor"}
CREATES = {"firecracker": "/machine-config", "cloud_hypervisor": "/vm.create"}
MARK = "OSV_HARNESS_SELFTEST_MARK"


@dataclass(frozen=True)
class StandIn:
    """A hypervisor whose binary is the stand-in: its name, the machine to start, and what it was sent."""

    name: str
    machine: Machine
    log: Path

    def start(self) -> Vm:
        return hypervisor(self.name).start(self.machine)

    def sent(self) -> list[Request]:
        return [Request(*json.loads(line)) for line in self.log.read_text().splitlines()]


@pytest.fixture
def machine(tmp_path: Path) -> Callable[[str], Machine]:
    """Makes a machine with two disks and a network for a hypervisor."""
    kernel, first, second = (tmp_path / name for name in ("kernel", "first.qcow2", "second"))
    kernel.write_bytes(b"\x7fELF")
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(first), "1M"], check=True)
    second.write_bytes(b"as it was".ljust(1 << 16))

    def make(name: str) -> Machine:
        image = Image(
            Cell("osv", "x86_64", name, "rofs", "all"), kernel, "--rootfs=rofs", "digest", (Disk(first, "qcow2"),)
        )
        cmdline = "--rootfs=rofs --verbose /hello"
        return Machine(image, cmdline, 2, 256, network=True, forwards=(ECHO_PORT,), disks=(Disk(second),))

    return make


@pytest.fixture(params=["firecracker", "cloud_hypervisor"])
def standin(
    request: pytest.FixtureRequest, machine: Callable[[str], Machine], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[StandIn]:  # fmt: skip
    """The stand-in as the first binary in PATH; when the test is over, nothing of it may be left."""
    name: str = request.param
    if subprocess.run(["unshare", "--mount", "--net", "true"], capture_output=True).returncode:
        pytest.skip("this user may make no namespaces")
    programs, log = tmp_path / "bin", tmp_path / "log"
    programs.mkdir()
    script = programs / BINARIES[name]
    words = [sys.executable, str(HERE / "rest_standin.py"), SCHEMAS[name], str(log)]
    script.write_text(f'#!/bin/sh\nexec {" ".join(words)} "$@"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv(MARK, str(tmp_path))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    before = _descriptors()
    yield StandIn(name, machine(name), log)
    assert _gone(tmp_path), "a process is left"
    assert not list(temporary.iterdir())
    assert _descriptors() == before


# ---- what is sent is right by the published schemas ----


@pytest.mark.parametrize("kernel", ["osv", "linux"])
@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
@pytest.mark.parametrize(
    ("schema", "version"), [("firecracker-1.17", (1, 17, 0)), ("firecracker-0.23", (0, 23, 0))]
)
def test_everything_that_firecracker_is_sent_is_right(
    machine: Callable[[str], Machine], schema: str, version: tuple[int, ...], arch: str, kernel: str
) -> None:
    """By the current schema, and by that of the version which OSv's own script fetches."""
    api, wanted = OpenApi(schema), machine("firecracker")
    cell = Cell(kernel, arch, "firecracker", "rofs", "all")
    image = replace(wanted.image, cell=cell, initrd=Path("/initrd"))
    wanted = replace(wanted, image=image)
    sent = [
        firecracker.DESCRIBE, *firecracker.configuration(wanted, version), firecracker.START,
        firecracker.POWER_BUTTON, *firecracker.snapshot(), firecracker.restore(version), firecracker.RESUME,
    ]  # fmt: skip
    assert {request.path: api.complaints(request) for request in sent if api.complaints(request)} == {}
    assert sum(request.path.startswith("/drives/") for request in sent) == 2


@pytest.mark.parametrize("kernel", ["osv", "linux"])
def test_everything_that_cloud_hypervisor_is_sent_is_right(machine: Callable[[str], Machine], kernel: str) -> None:
    api, wanted = OpenApi("cloud-hypervisor"), machine("cloud_hypervisor")
    cell = Cell(kernel, "x86_64", "cloud_hypervisor", "rofs", "all")
    image = replace(wanted.image, cell=cell, initrd=Path("/initrd"))
    wanted = replace(wanted, image=image)
    sent = [cloud_hypervisor.PING, cloud_hypervisor.creation(wanted), cloud_hypervisor.BOOT]
    sent += [cloud_hypervisor.POWER_BUTTON, cloud_hypervisor.creation(replace(wanted, share=Path("/srv")))]
    assert {request.path: api.complaints(request) for request in sent if api.complaints(request)} == {}


@pytest.mark.parametrize(
    ("schema", "request_", "complaint"),
    [
        ("firecracker-1.17", Request("PUT", "/machine-config", {"vcpu_count": 1}), "mem_size_mib"),
        ("firecracker-1.17", Request("PUT", "/machine-config", {"vcpu_count": 99, "mem_size_mib": 1}), "maximum"),
        ("firecracker-1.17", Request("PUT", "/vm", {"state": "Paused"}), "there is no PUT /vm"),
        ("firecracker-1.17", Request("PATCH", "/vm", {"state": "paused"}), "paused"),
        ("firecracker-0.23", firecracker.restore((1, 17)), "mem_backend"),
        ("cloud-hypervisor", Request("PUT", "/vm.create", {"payload": {"kernle": "x"}}), "kernle"),
        ("cloud-hypervisor", Request("PUT", "/vm.boot", {}), "no body"),
    ],
)
def test_a_request_that_is_wrong_is_seen(schema: str, request_: Request, complaint: str) -> None:
    """Else the tests above would say nothing."""
    assert any(complaint in words for words in OpenApi(schema).complaints(request_))


def test_an_old_and_a_new_firecracker_are_sent_what_each_knows(machine: Callable[[str], Machine]) -> None:
    old, new = (
        firecracker.configuration(machine("firecracker"), version)[0].body for version in ((0, 23), (1, 0))
    )
    assert old == {**new, "ht_enabled": False}


def test_a_guest_is_told_its_board_and_its_address(machine: Callable[[str], Machine]) -> None:
    source = firecracker.configuration(machine("firecracker"), (1, 12))[1].body
    network = "--ip=eth0,172.16.0.2,255.255.255.252 --defaultgw=172.16.0.1"
    assert source["boot_args"] == f"--nopci {network} --rootfs=rofs --verbose /hello"
    created = cloud_hypervisor.creation(machine("cloud_hypervisor")).body
    assert created["payload"]["cmdline"] == f"{network} --rootfs=rofs --verbose /hello"
    wanted = machine("cloud_hypervisor")
    image = replace(wanted.image, cell=replace(wanted.image.cell, kernel="linux"))
    created = cloud_hypervisor.creation(replace(wanted, image=image)).body
    assert created["payload"]["cmdline"].startswith("ip=172.16.0.2::172.16.0.1:255.255.255.252::eth0:off ")


@pytest.mark.parametrize("change", [{"control": True}, {"counted": True}])
def test_what_they_lack_is_refused_before_anything_is_started(standin: StandIn, change: dict[str, bool]) -> None:
    with pytest.raises(HypervisorError) as caught:
        hypervisor(standin.name).start(replace(standin.machine, **change))  # type: ignore[arg-type]
    assert "qemu" in caught.value.cure
    assert not standin.log.exists()


# ---- the way there and back, with the stand-in at its end ----


def test_a_machine_is_made_and_started_and_its_console_heard(standin: StandIn) -> None:
    with closing(standin.start()) as vm:
        made = standin.sent()
        assert CREATES[standin.name] in [request.path for request in made]
        assert vm.trouble() == ""
        assert vm.ending(0.0) is None
        vm.resume()
        with Guest(standin.machine, vm) as guest:
            guest.console.expect(SAID, timeout=20)
            vm.stop()
            assert guest.wait(lambda: guest.closed, time.monotonic() + 20)
            assert guest.vm.ending().cause is Cause.STOPPED  # type: ignore[union-attr]
    api = OpenApi(SCHEMAS[standin.name])
    assert [complaint for request in standin.sent() for complaint in api.complaints(request)] == []


@pytest.mark.skipif(shutil.which("virtiofsd", path=":".join(ELSEWHERE)) is None, reason="virtiofsd is missing")
@pytest.mark.parametrize("standin", ["cloud_hypervisor"], indirect=True)
def test_a_folder_is_served_on_a_socket_of_the_guests_own(standin: StandIn, tmp_path: Path) -> None:
    """A real virtiofsd listens where the hypervisor is told to connect; the fixture sees that it goes too."""
    folder = tmp_path / "folder"
    folder.mkdir()
    machine = replace(standin.machine, share=folder, devices=Devices(share=True))
    with closing(hypervisor(standin.name).start(machine)) as vm:
        [created] = [request.body for request in standin.sent() if request.path == CREATES[standin.name]]
        assert created["memory"]["shared"] is True
        with socket.socket(socket.AF_UNIX) as guest:
            guest.connect(f"/proc/{vm.pid}/cwd/{created['fs'][0]['socket']}")


def test_a_forwarded_port_leads_into_its_own_guests_network(standin: StandIn) -> None:
    """Two guests have one address, each in a network of its own."""
    with closing(standin.start()) as first, closing(standin.start()) as second:
        ports = [vm.ports()[ECHO_PORT] for vm in (first, second)]
        assert [_asked(port, b"who?") for port in ports] == [b"WHO?", b"WHO?"]
        first.close()
        with pytest.raises(OSError):
            _asked(ports[0], b"who?")
        assert _asked(ports[1], b"still?") == b"STILL?"


def test_disks_are_given_as_raw_copies_and_stay_as_they_were(standin: StandIn) -> None:
    with closing(standin.start()) as vm:
        disks = [Path(f"/proc/{vm.pid}/cwd/disk{index}") for index in (0, 1)]
        targets = [Path(f"/proc/{vm.pid}/fd") / disk.readlink().name for disk in disks]
        assert targets[0].stat().st_size == 1 << 20
        assert targets[1].read_bytes() == b"as it was".ljust(1 << 16)
        targets[1].write_bytes(b"changed")
    assert standin.machine.disks[0].path.read_bytes() == b"as it was".ljust(1 << 16)


@pytest.mark.parametrize(("status", "cause"), [(0, Cause.POWERED_OFF), (3, Cause.REFUSED)])
def test_how_the_process_ended_is_told(
    standin: StandIn, monkeypatch: pytest.MonkeyPatch, status: int, cause: Cause
) -> None:
    monkeypatch.setenv("OSV_HARNESS_STANDIN", f"ends {status}")
    with closing(standin.start()) as vm:
        vm.resume()
        ending = vm.ending(20)
        assert ending is not None
        assert ending.cause is cause
        assert f"exited with {status}" in ending.detail


# ---- what goes wrong ----


def test_a_binary_that_is_missing_is_named_with_its_cure(
    standin: StandIn, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    if any((folder / BINARIES[standin.name]).exists() for folder in (Path("/usr/bin"), Path("/bin"))):
        pytest.skip("this host has the binary itself")
    with pytest.raises(HostError) as caught:
        standin.start()
    assert BINARIES[standin.name] in caught.value.happened
    assert "https://github.com/" in caught.value.cure


def test_a_process_that_ends_at_once_is_told_in_its_words(
    standin: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSV_HARNESS_STANDIN", "die")
    with pytest.raises(HypervisorError) as caught:
        standin.start()
    assert "exited with 7" in caught.value.happened
    assert "no luck" in caught.value.happened
    assert "\x07" not in caught.value.happened


def test_a_process_that_never_listens_is_given_up(standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSV_HARNESS_STANDIN", "silent")
    monkeypatch.setattr(rest, "START_SECONDS", 0.5)
    with pytest.raises(HypervisorError, match="its socket is silent"):
        standin.start()


@pytest.mark.parametrize(
    ("mood", "words"), [("refuse", "it is"), ("garbage", "broke off at"), ("fail", "broke off at")]
)
def test_an_api_that_errs_is_quoted_safely(
    standin: StandIn, monkeypatch: pytest.MonkeyPatch, mood: str, words: str
) -> None:
    monkeypatch.setenv("OSV_HARNESS_STANDIN", f"{mood} {CREATES[standin.name]}")
    with pytest.raises(HypervisorError) as caught:
        standin.start()
    assert CREATES[standin.name] in caught.value.happened
    assert words in caught.value.happened
    assert "\x1b" not in caught.value.happened


def test_one_that_is_killed_while_it_starts_is_told(standin: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSV_HARNESS_STANDIN", "silent")

    def kill() -> None:
        own = f"{MARK}={standin.log.parent}".encode()
        while not (found := _processes(b"rest_standin.py") & _processes(own, "environ")):
            time.sleep(0.01)
        for pid in found:
            os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(HypervisorError, match="SIGKILL"):
            standin.start()
    finally:
        killer.join()


def test_a_guest_that_resets_under_cloud_hypervisor_is_ended_and_not_booted_again(
    machine: Callable[[str], Machine],
) -> None:
    """The events as Cloud Hypervisor writes them, in two pieces; a broken one changes nothing."""
    from harness.hypervisors._child import Child
    from harness.hypervisors.cloud_hypervisor import Events

    heard, told = os.pipe()
    with closing(Child("sleep", ["sleep", "600"])) as child:
        events = Events(heard, child)
        os.write(told, b'{\n "source": "vm",\n "event": "booted"\n}\n\n{"no": "event"}\n\nno JSON\n\n{"source":')
        time.sleep(0.05)
        assert child.status() is None
        os.write(told, b' "vm", "event": "rebooting",\n "properties": null}\n\n')
        assert child.status(20) == -signal.SIGKILL
        os.close(told)
        events.join()
        assert events.cause is Cause.RESET


# ---- nothing is left ----


def test_a_killed_harness_takes_everything_along(standin: StandIn) -> None:
    """SIGKILL while it starts and while it runs: process, forwarder, namespaces, folder."""
    folder, name = str(standin.log.parent), standin.name
    source = f"""
import sys, time
sys.path[:0] = [{str(HERE)!r}, {str(HERE.parents[1])!r}]
from test_rest_hypervisors import _machine_of
from harness.hypervisors import hypervisor
machine = _machine_of({folder!r}, {name!r})
print("starting", flush=True)
vm = hypervisor({name!r}).start(machine)
print("started", flush=True)
time.sleep(600)
"""
    for line in ("starting", "started"):
        with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE, text=True) as harness:
            assert harness.stdout
            while (said := harness.stdout.readline().strip()) != line:
                assert said, "the harness could not start"
            harness.kill()
        assert _gone(standin.log.parent)


@pytest.mark.parametrize("standin", ["firecracker"], indirect=True)
def test_a_template_is_frozen_and_forked_by_snapshot(standin: StandIn, tmp_path: Path) -> None:
    forks = forking(hypervisor("firecracker"))
    assert forks is not None
    template = Template(standin.machine, tmp_path)
    vm = forks.start_template(template)
    vm.resume()
    forks.freeze(vm, template)
    assert vm.ending(0.0) is not None
    standin.log.unlink()
    with closing(forks.fork(template)) as fork:
        fork.resume()
        links = {name: (Path(f"/proc/{fork.pid}/cwd") / name).readlink() for name in ("state", "ram")}
    assert links == {"state": tmp_path / "state", "ram": tmp_path / "ram"}
    assert [request.path for request in standin.sent()] == ["/", "/snapshot/load", "/vm"]


def _machine_of(folder: str, name: str) -> Machine:
    kernel = Path(folder) / "kernel"
    image = Image(Cell("osv", "x86_64", name, "rofs", "all"), kernel, "--rootfs=rofs", "digest")
    return Machine(image, "--rootfs=rofs /hello", network=True, forwards=(ECHO_PORT,))


def _asked(port: int, what: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall(what)
        return line.recv(100)


def _gone(mark: Path) -> bool:
    """Whether no process with the mark in its environment is left; one that was killed takes a moment to go."""
    for _ in range(100):
        if not _processes(f"{MARK}={mark}".encode(), "environ"):
            return True
        time.sleep(0.05)
    return False


def _processes(word: bytes, where: str = "cmdline") -> set[int]:
    """The other processes that have the word in their command line or environment."""
    found = set()
    for path in Path("/proc").glob(f"[0-9]*/{where}"):
        with suppress(OSError):
            if any(part.endswith(word) for part in path.read_bytes().split(b"\0")):
                found.add(int(path.parent.name))
    return found - {os.getpid()}


def _descriptors() -> set[str]:
    found = set()
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            found.add(f"{path.name} {path.readlink()}")
    return {row for row in found if "/proc/" not in row}
