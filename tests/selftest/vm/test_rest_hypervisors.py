"""Firecracker and Cloud Hypervisor as far as a host without them can show: the way there and back leaves nothing.

The server that answers here is made from their published schemas and stands in for the transport only. It boots
nothing.
"""

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from openapi import OpenApi
from rest_machines import CREATES, SCHEMAS, StandIn, gone, standing_in
from rest_standin import ECHO_PORT, SAID

from harness.core.machine import Devices
from harness.host.requirements import SBIN_PATHS
from harness.runner.guest import Guest
from harness.vm.base import ExitCause, Template, snapshots_of
from harness.vm.registry import hypervisor

HERE = Path(__file__).parents[1] / "support"


@pytest.fixture(params=["firecracker", "cloud_hypervisor"])
def standin(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    """The stand-in as the first binary in PATH; when the test is over, nothing of it may be left."""
    with standing_in(request.param, tmp_path, monkeypatch) as one:
        yield one


def test_a_machine_is_made_and_started_and_its_console_heard(standin: StandIn) -> None:
    with closing(standin.start()) as vm:
        made = standin.sent()
        assert CREATES[standin.name] in [request.path for request in made]
        assert vm.hypervisor_error() == ""
        assert vm.wait_for_exit(0.0) is None
        vm.resume()
        with Guest(standin.machine, vm) as guest:
            guest.console.expect(SAID, timeout=20)
            vm.stop()
            assert guest.wait(lambda: guest.closed, time.monotonic() + 20)
            assert guest.vm.wait_for_exit().cause is ExitCause.STOPPED  # type: ignore[union-attr]
    api = OpenApi(SCHEMAS[standin.name])
    assert [complaint for request in standin.sent() for complaint in api.complaints(request)] == []


@pytest.mark.skipif(shutil.which("virtiofsd", path=":".join(SBIN_PATHS)) is None, reason="virtiofsd is missing")
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


@pytest.mark.parametrize(("status", "cause"), [(0, ExitCause.POWERED_OFF), (3, ExitCause.REFUSED)])
def test_how_the_process_ended_is_told(
    standin: StandIn, monkeypatch: pytest.MonkeyPatch, status: int, cause: ExitCause
) -> None:
    monkeypatch.setenv("OSV_HARNESS_STANDIN", f"ends {status}")
    with closing(standin.start()) as vm:
        vm.resume()
        exit_status = vm.wait_for_exit(20)
        assert exit_status is not None
        assert exit_status.cause is cause
        assert f"exited with {status}" in exit_status.detail


def test_a_killed_harness_takes_everything_along(standin: StandIn) -> None:
    """SIGKILL while it starts and while it runs: process, forwarder, namespaces, folder."""
    folder, name = str(standin.log.parent), standin.name
    source = f"""
import sys, time
sys.path[:0] = [{str(HERE)!r}, {str(HERE.parents[2])!r}]
from rest_machines import plain_machine
from harness.vm.registry import hypervisor
machine = plain_machine({folder!r}, {name!r})
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
        assert gone(standin.log.parent)


@pytest.mark.parametrize("standin", ["firecracker"], indirect=True)
def test_a_template_is_frozen_and_forked_by_snapshot(standin: StandIn, tmp_path: Path) -> None:
    forks = snapshots_of(hypervisor("firecracker"))
    assert forks is not None
    template = Template(standin.machine, tmp_path)
    vm = forks.start_template(template)
    vm.resume()
    forks.freeze(vm, template)
    assert vm.wait_for_exit(0.0) is not None
    standin.log.unlink()
    with closing(forks.fork(template)) as fork:
        fork.resume()
        links = {name: (Path(f"/proc/{fork.pid}/cwd") / name).readlink() for name in ("state", "ram")}
    assert links == {"state": tmp_path / "state", "ram": tmp_path / "ram"}
    assert [request.path for request in standin.sent()] == ["/", "/snapshot/load", "/vm"]


def _asked(port: int, what: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall(what)
        return line.recv(100)
