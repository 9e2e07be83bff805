"""Guests on tap devices, each in a network namespace of its own: what is in it, who gets in and out, what is left.

The host's own links, rules and settings are looked at before and after each test.
"""

import os
import random
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from cells_here import runnable
from network_guests import PORT, booting, image_that_asks, in_a_network_of_its_own
from networks_here import MARK, marked, network_of, network_state, networks, soon
from tap_run import Running

from harness.core.cell import Cell
from harness.core.errors import CellError, HypervisorError
from harness.core.machine import Devices, Image, Machine
from harness.host.netns import GUEST_ADDRESS, HOST_ADDRESS, Wiring, in_new_netns
from harness.host.network_probe import VHOST, check_network
from harness.runner.base import Program
from harness.runner.interaction import GuestClient, Interaction
from harness.runner.session import Session
from harness.runner.verdict import Outcome
from harness.vm.qemu.devices import network
from harness.vm.registry import hypervisor
from harness.workloads.apps.checks import mismatch

GUESTS = 8
KILLS = 5
GREETING = "hello from the guest"
SERVER = f"sh -c 'while :; do echo {GREETING} | nc -l -p {PORT}; done'"
CALLER = """
import socket, sys, time

end = time.monotonic() + 20
while True:
    try:
        print(socket.create_connection((sys.argv[1], int(sys.argv[2])), 20).recv(99).decode())
        break
    except ConnectionRefusedError:
        if time.monotonic() > end:
            raise
        time.sleep(0.05)
"""


@pytest.fixture(autouse=True)
def nothing_changes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Before and after the test the host is the same, and none of its processes is left."""
    mark = uuid4().hex
    monkeypatch.setenv(MARK, mark)
    before = network_state()
    yield
    assert soon(lambda: not marked(mark)), marked(mark)
    assert network_state() == before


@pytest.mark.parametrize("variant", ["tap", "tap-nat", "tap-multiqueue", "vhost"])
def test_a_guest_on_a_tap_is_reached_through_the_harness(session: Session, variant: str) -> None:
    """By the forwarded port, and by its own address from inside its network."""
    cell = runnable(session, f"linux:x86_64-qemu-rofs/{variant}")
    seen: list[str] = []

    def act(client: GuestClient) -> None:
        client.doing = "asked from outside"
        if wrong := mismatch({"answer": GREETING, "within": 20}, client.ports[PORT]):
            client.report_mismatch(wrong)
        place = client.endpoint(PORT)
        if wrong := _asked_inside(list(place.command_prefix), place.host, place.port):
            client.report_mismatch(wrong)
        seen.append(client.run_command("ifconfig eth0; ping -c 1 -w 20 172.16.0.1").output.decode())
        if cell.variant == "vhost":
            held = [os.readlink(fd) for fd in Path(f"/proc/{client.pid}/fd").iterdir()]  # noqa: PTH115
            seen.append("vhost" if str(VHOST) in held else "no vhost")
        client.request_end()

    def wait_ready(client: GuestClient) -> None:
        while mismatch({"answer": GREETING}, client.ports[PORT]) and not client.gone.wait(0.1):
            pass

    program = Program("serves", SERVER, 60, forwards=(PORT,), good_statuses=(143,))  # a shell that got SIGTERM
    run = session.run(cell, program, Interaction(act=act, wait_ready=wait_ready, ready_limit=120, act_limit=120))
    assert run.verdict.outcome is Outcome.PASSED, (run.verdict.reason, run.transcript.tail(20))
    assert f"inet addr:{GUEST_ADDRESS}" in seen[0]
    assert "1 packets received" in seen[0]
    assert seen[1:] in ([], ["vhost"])


@pytest.mark.parametrize("kernel", ["linux", "osv"])
def test_a_guest_on_a_bridge_reaches_nothing_outside_and_one_with_nat_does(session: Session, kernel: str) -> None:
    """Both in a network that stands for this host's, so that the test needs no other: it has one address and a
    server there, which slirp4netns, a process of that network, can reach."""
    _skip_without_a_checkout(session, kernel)
    for variant, reached in (("tap", False), ("tap-nat", True)):
        cell = runnable(session, f"{kernel}:x86_64-qemu-rofs/{variant}")
        image_that_asks(session, cell)  # while there is a network by which to fetch its libraries
        said = in_a_network_of_its_own(str(cell))
        assert said["ended"], said
        assert ("from outside" in said["console"]) is reached, said


@pytest.mark.parametrize("kernel", ["linux", "osv"])
def test_eight_guests_at_once_have_one_address_and_disturb_nobody(session: Session, kernel: str) -> None:
    """Each of a run of its own; half of the runs are killed, and the others' guests neither hear nor see that."""
    _skip_without_a_checkout(session, kernel)
    cell = runnable(session, f"{kernel}:x86_64-qemu-rofs/tap")
    with ExitStack() as stack:
        runs = [stack.enter_context(Running(cell, f"word-{number}")) for number in range(GUESTS)]
        for run in runs:
            run.read()
        assert len({run.network() for run in runs} | {network_of("self")}) == GUESTS + 1
        assert [run.asked() for run in runs] == [""] * GUESTS
        killed, others = runs[::2], runs[1::2]
        gone = {run.network() for run in killed}
        assert gone <= networks(os.environ[MARK])
        for run in killed:
            run.process.kill()
            run.process.wait()
        assert [run.asked() for run in others] == [""] * len(others)
        assert [run.ended()["outcome"] for run in others] == ["passed"] * len(others)
        assert soon(lambda: not gone & networks(os.environ[MARK])), marked(os.environ[MARK])


@pytest.mark.parametrize("variant", ["tap", "tap-nat"])
def test_a_killed_run_takes_its_guests_networks_along(session: Session, variant: str) -> None:
    """SIGKILL at any moment, while a network is made included; nobody is left to tidy up."""
    cell = runnable(session, f"linux:x86_64-qemu-rofs/{variant}")
    session.runner(cell)  # built by now
    dice = random.Random(5)
    for _ in range(KILLS):
        with booting(cell) as run:
            assert run.stdout
            assert run.stdout.readline() == b"starting\n"
            time.sleep(dice.uniform(0, 1.5))
            run.kill()
        assert soon(lambda: not marked(os.environ[MARK]))


@pytest.mark.parametrize("wiring", Wiring)
def test_a_network_has_a_tap_device_and_its_own_address(wiring: Wiring) -> None:
    _skip_without("tap-nat" if wiring is Wiring.NAT else "tap")
    shown = subprocess.run(in_new_netns(["ip", "-4", "-o", "addr"], wiring), capture_output=True, text=True)
    links = subprocess.run(in_new_netns(["ip", "-o", "link"], wiring), capture_output=True, text=True).stdout
    assert shown.returncode == 0, shown.stderr
    assert re.search(rf"{'bridge0' if wiring is Wiring.BRIDGE else 'tap0'}\s+inet {HOST_ADDRESS}/30", shown.stdout)
    assert len(links.splitlines()) == (3 if wiring is Wiring.BRIDGE else 2), links


def test_a_network_that_cannot_be_made_says_why(
    session: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In the words of the program that failed, and no guest is left."""
    (tmp_path / "ip").write_text("#!/bin/sh\necho 'RTNETLINK answers: Out of cheese' >&2\nexit 2\n")
    (tmp_path / "ip").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert check_network("tap").found == "RTNETLINK answers: Out of cheese"
    image = Image(Cell("linux", "x86_64", "qemu", "rofs", "all", (), "tap"), Path("/dev/null"), "", "digest")
    with pytest.raises(HypervisorError) as caught:
        hypervisor("qemu").start(Machine(image, "", network=True, devices=Devices(netdev="tap")))
    assert "Out of cheese" in caught.value.message


def test_vhost_is_found_by_trying(session: Session) -> None:
    """Where it is lacking, the cell is refused by that name."""
    found = session.host.capability("vhost-net")
    if not VHOST.exists():
        assert (found.present, found.found) == (False, f"there is no {VHOST}")
    if found.present:
        pytest.skip("this host has vhost-net, on which a guest is booted by another test")
    _skip_without("tap")  # which is told first
    with pytest.raises(CellError) as caught:
        session.check_runs(session.cell("linux:x86_64-qemu-rofs/vhost"))
    assert f"vhost-net is lacking: {found.found}" in caught.value.hint


@pytest.mark.parametrize(
    ("devices", "words"),
    [
        (
            Devices(netdev="tap"),
            ["tap,id=net0,ifname=tap0,script=no,downscript=no", "virtio-net-pci,romfile=,netdev=net0"],
        ),
        (
            Devices(netdev="tap", vhost=True),
            ["tap,id=net0,ifname=tap0,script=no,downscript=no,vhost=on", "virtio-net-pci,romfile=,netdev=net0"],
        ),
        (
            Devices(netdev="tap", nic_queues=4),
            [
                "tap,id=net0,ifname=tap0,script=no,downscript=no,queues=4",
                "virtio-net-pci,romfile=,mq=on,vectors=10,netdev=net0",
            ],
        ),
        (
            Devices(),
            ["user,id=net0,restrict=on,hostfwd=tcp:127.0.0.1:0-:80", "virtio-net-pci,romfile=,netdev=net0"],
        ),
    ],
)
def test_qemu_is_told_of_the_card_and_what_it_is_joined_to(devices: Devices, words: list[str]) -> None:
    image = Image(Cell("osv", "x86_64", "qemu", "rofs", "all"), Path("/kernel"), "", "digest")
    machine = Machine(image, "", network=True, forwards=(80,), devices=devices)
    assert network(machine, "pci")[1::2] == words
    assert network(replace(machine, network=False), "pci") == []


def _asked_inside(entering_words: list[str], host: str, port: int) -> str:
    """What is wrong with what a process hears that is in the guest's network, as generators of load are.

    Between two callers the guest starts its server anew, so that a call may be refused.
    """
    done = subprocess.run(
        [*entering_words, sys.executable, "-c", CALLER, host, str(port)], capture_output=True, text=True
    )
    return "" if done.stdout.strip() == GREETING else f"{done.stdout} {done.stderr}"


def _skip_without_a_checkout(session: Session, kernel: str) -> None:
    if kernel == "osv" and session.osv_root is None:
        pytest.skip("OSV_ROOT names no OSv checkout")


def _skip_without(name: str) -> None:
    found = check_network(name)
    if not found.present:
        pytest.skip(f"{name}: {found.found}")
