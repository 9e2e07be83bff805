"""Guests on tap devices, each in a network namespace of its own: what is in it, who gets in and out, what is left.

The host's own links, rules and settings are looked at before and after each test.
"""

import json
import os
import random
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from cells_here import runnable

from harness.apps import Source
from harness.apps.answers import complaint
from harness.apps.compiled import compiled
from harness.cell import Cell
from harness.errors import CellError, HypervisorError
from harness.fitting import fitted
from harness.host_networks import VHOST, tried_network
from harness.hypervisors import hypervisor
from harness.hypervisors._qemu_devices import network
from harness.images.contents import Contents
from harness.lab import Lab
from harness.machine import Devices, Image, Machine
from harness.networks import GUEST_ADDRESS, HOST_ADDRESS, Wiring, isolated
from harness.programs import Program
from harness.programs.visit import Visit, Visitor
from harness.verdict import Outcome

GUESTS = 8
KILLS = 5
PORT = 7000
GREETING = "hello from the guest"
SERVER = f"sh -c 'while :; do echo {GREETING} | nc -l -p {PORT}; done'"
MARK = "OSV_HARNESS_NETWORKS_MARK"
RUN = Path(__file__).with_name("tap_run.py")
OUTSIDE = "198.51.100.1"  # an address for documentation: RFC 5737
ASK = Source(Path(__file__).with_name("guest_programs") / "ask.c", "c", "/usr/bin/ask")
IP, NFT = (shutil.which(name) or shutil.which(name, path="/usr/sbin") for name in ("ip", "nft"))


@pytest.fixture(autouse=True)
def nothing_changes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Before and after the test the host is the same, and none of its processes is left."""
    mark = uuid4().hex
    monkeypatch.setenv(MARK, mark)
    before = _host()
    yield
    assert _soon(lambda: not _marked(mark)), _marked(mark)
    assert _host() == before


@pytest.mark.parametrize("variant", ["tap", "tap-nat", "tap-multiqueue", "vhost"])
def test_a_guest_on_a_tap_is_reached_through_the_harness(lab: Lab, variant: str) -> None:
    """By the forwarded port, and by its own address from inside its network."""
    cell = runnable(lab, f"linux:x86_64-qemu-rofs/{variant}")
    seen: list[str] = []

    def act(visitor: Visitor) -> None:
        visitor.doing = "asked from outside"
        if wrong := complaint({"answer": GREETING, "within": 20}, visitor.ports[PORT]):
            visitor.complain(wrong)
        place = visitor.place(PORT)
        if wrong := _asked_inside(list(place.entering), place.host, place.port):
            visitor.complain(wrong)
        seen.append(visitor.run_inside("ifconfig eth0; ping -c 1 -w 20 172.16.0.1").output.decode())
        if cell.variant == "vhost":
            held = [os.readlink(fd) for fd in Path(f"/proc/{visitor.pid}/fd").iterdir()]  # noqa: PTH115
            seen.append("vhost" if str(VHOST) in held else "no vhost")
        visitor.ask_to_end()

    def get_ready(visitor: Visitor) -> None:
        while complaint({"answer": GREETING}, visitor.ports[PORT]) and not visitor.gone.wait(0.1):
            pass

    program = Program("serves", SERVER, 60, forwards=(PORT,), good_statuses=(143,))  # a shell that got SIGTERM
    run = lab.run(cell, program, Visit(act=act, get_ready=get_ready, ready_limit=120, act_limit=120))
    assert run.verdict.outcome is Outcome.PASSED, (run.verdict.reason, run.transcript.tail(20))
    assert f"inet addr:{GUEST_ADDRESS}" in seen[0]
    assert "1 packets received" in seen[0]
    assert seen[1:] in ([], ["vhost"])


@pytest.mark.parametrize("kernel", ["linux", "osv"])
def test_a_guest_on_a_bridge_reaches_nothing_outside_and_one_with_nat_does(lab: Lab, kernel: str) -> None:
    """Both in a network that stands for this host's, so that the test needs no other: it has one address and a
    server there, which slirp4netns, a process of that network, can reach."""
    _skip_without_a_checkout(lab, kernel)
    for variant, reached in (("tap", False), ("tap-nat", True)):
        cell = runnable(lab, f"{kernel}:x86_64-qemu-rofs/{variant}")
        _image_that_asks(lab, cell)  # while there is a network by which to fetch its libraries
        said = _in_a_network_of_its_own(str(cell))
        assert said["ended"], said
        assert ("from outside" in said["console"]) is reached, said


@pytest.mark.parametrize("kernel", ["linux", "osv"])
def test_eight_guests_at_once_have_one_address_and_disturb_nobody(lab: Lab, kernel: str) -> None:
    """Each of a run of its own; half of the runs are killed, and the others' guests neither hear nor see that."""
    _skip_without_a_checkout(lab, kernel)
    cell = runnable(lab, f"{kernel}:x86_64-qemu-rofs/tap")
    with ExitStack() as stack:
        runs = [stack.enter_context(_Run(cell, f"word-{number}")) for number in range(GUESTS)]
        for run in runs:
            run.read()
        assert len({run.network() for run in runs} | {_network_of("self")}) == GUESTS + 1
        assert [run.asked() for run in runs] == [""] * GUESTS
        killed, others = runs[::2], runs[1::2]
        gone = {run.network() for run in killed}
        for run in killed:
            run.process.kill()
            run.process.wait()
        assert [run.asked() for run in others] == [""] * len(others)
        assert [run.ended()["outcome"] for run in others] == ["passed"] * len(others)
        assert _soon(lambda: not gone & _networks())


@pytest.mark.parametrize("variant", ["tap", "tap-nat"])
def test_a_killed_run_takes_its_guests_networks_along(lab: Lab, variant: str) -> None:
    """SIGKILL at any moment, while a network is made included; nobody is left to tidy up."""
    cell = runnable(lab, f"linux:x86_64-qemu-rofs/{variant}")
    lab.runner(cell)  # built by now
    dice = random.Random(5)
    for _ in range(KILLS):
        with subprocess.Popen([sys.executable, __file__, "boot", str(cell)], stdout=subprocess.PIPE) as run:
            assert run.stdout
            assert run.stdout.readline() == b"starting\n"
            time.sleep(dice.uniform(0, 1.5))
            run.kill()
        assert _soon(lambda: not _marked(os.environ[MARK]))


@pytest.mark.parametrize("wiring", Wiring)
def test_a_network_has_a_tap_device_and_its_own_address(wiring: Wiring) -> None:
    _skip_without("tap-nat" if wiring is Wiring.NAT else "tap")
    shown = subprocess.run(isolated(["ip", "-4", "-o", "addr"], wiring), capture_output=True, text=True)
    links = subprocess.run(isolated(["ip", "-o", "link"], wiring), capture_output=True, text=True).stdout
    assert shown.returncode == 0, shown.stderr
    assert re.search(rf"{'bridge0' if wiring is Wiring.BRIDGE else 'tap0'}\s+inet {HOST_ADDRESS}/30", shown.stdout)
    assert len(links.splitlines()) == (3 if wiring is Wiring.BRIDGE else 2), links


def test_a_network_that_cannot_be_made_says_why(lab: Lab, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the words of the program that failed, and no guest is left."""
    (tmp_path / "ip").write_text("#!/bin/sh\necho 'RTNETLINK answers: Out of cheese' >&2\nexit 2\n")
    (tmp_path / "ip").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert tried_network("tap").found == "RTNETLINK answers: Out of cheese"
    image = Image(Cell("linux", "x86_64", "qemu", "rofs", "all", (), "tap"), Path("/dev/null"), "", "digest")
    with pytest.raises(HypervisorError) as caught:
        hypervisor("qemu").start(Machine(image, "", network=True, devices=Devices(netdev="tap")))
    assert "Out of cheese" in caught.value.happened


def test_vhost_is_found_by_trying(lab: Lab) -> None:
    """Where it is lacking, the cell is refused by that name."""
    found = lab.host.capability("vhost-net")
    if not VHOST.exists():
        assert (found.present, found.found) == (False, f"there is no {VHOST}")
    if found.present:
        pytest.skip("this host has vhost-net, on which a guest is booted by another test")
    with pytest.raises(CellError) as caught:
        lab.check_runs(lab.cell("linux:x86_64-qemu-rofs/vhost"))
    assert f"vhost-net is lacking: {found.found}" in caught.value.cure


@pytest.mark.parametrize(
    ("devices", "words"),
    [
        (Devices(netdev="tap"), ["tap,id=net0,ifname=tap0,script=no,downscript=no", "virtio-net-pci,netdev=net0"]),
        (
            Devices(netdev="tap", vhost=True),
            ["tap,id=net0,ifname=tap0,script=no,downscript=no,vhost=on", "virtio-net-pci,netdev=net0"],
        ),
        (
            Devices(netdev="tap", nic_queues=4),
            [
                "tap,id=net0,ifname=tap0,script=no,downscript=no,queues=4",
                "virtio-net-pci,mq=on,vectors=10,netdev=net0",
            ],
        ),
        (Devices(), ["user,id=net0,restrict=on,hostfwd=tcp:127.0.0.1:0-:80", "virtio-net-pci,netdev=net0"]),
    ],
)
def test_qemu_is_told_of_the_card_and_what_it_is_joined_to(devices: Devices, words: list[str]) -> None:
    image = Image(Cell("osv", "x86_64", "qemu", "rofs", "all"), Path("/kernel"), "", "digest")
    machine = Machine(image, "", network=True, forwards=(80,), devices=devices)
    assert network(machine, "pci")[1::2] == words
    assert network(replace(machine, network=False), "pci") == []


class _Run:
    """A run of the harness as a process of its own, with one guest."""

    def __init__(self, cell: Cell, word: str) -> None:
        self.word = word
        self.said: dict[str, int] = {}
        self.process = subprocess.Popen(
            [sys.executable, str(RUN), str(cell), word],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __enter__(self) -> "_Run":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                with suppress(BrokenPipeError):
                    pipe.close()

    def read(self) -> None:
        """Wait until its guest has the word."""
        assert self.process.stdout
        self.said = json.loads(self.process.stdout.readline())
        assert "pid" in self.said, self.said

    def network(self) -> str:
        """The network namespace that its guest is in."""
        return _network_of(str(self.said["pid"]))

    def asked(self) -> str:
        """What is wrong with the word that its guest keeps; nothing if it is its own."""
        wanted = {"send": "GET word\r\n", "answer": f"${len(self.word)}\r\n{self.word}\r\n"}
        return complaint(wanted, self.said["port"], 60)

    def ended(self) -> dict[str, str]:
        """Have its guest end, and hear how it did."""
        assert self.process.stdout
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        said: dict[str, str] = json.loads(self.process.stdout.readline())
        assert self.process.wait(60) == 0
        return said


def _in_a_network_of_its_own(cell: str) -> dict[str, Any]:
    """What the console of a guest shows that asks a server of a network that stands for this host's."""
    link = f"ip link add outside type bridge; ip addr add {OUTSIDE}/24 dev outside; ip link set outside up"
    script = f'PATH=$PATH:/usr/sbin; ip link set lo up; {link}; exec "$@"'
    own = [] if os.geteuid() == 0 else ["--map-root-user"]
    command = ["unshare", *own, "--net", "sh", "-c", script, "sh", sys.executable, __file__, "ask", cell]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return said


def _ask_outside(name: str) -> None:
    """What `_in_a_network_of_its_own` runs: a server, and a guest that asks it."""
    server = socket.create_server((OUTSIDE, PORT))

    def serve() -> None:
        while True:
            line, _ = server.accept()
            with closing(line), suppress(OSError):
                line.sendall(b"from outside\n")

    threading.Thread(target=serve, daemon=True).start()
    lab = Lab()
    cell = lab.cell(name)
    program = Program("asks", f"{ASK.program} {OUTSIDE} {PORT}", 120, good_statuses=(0, 1))
    run = lab.run_on(_image_that_asks(lab, cell), program)
    console = bytes(run.transcript.raw).decode("utf-8", "replace")
    ended = run.verdict.outcome is Outcome.PASSED
    print(json.dumps({"ended": ended, "reason": run.verdict.reason, "console": console}))


def _boot_for_ever(name: str) -> None:
    """What `test_a_killed_run_takes_its_guests_networks_along` kills."""
    lab = Lab()
    image = lab.image(lab.cell(name))
    machine = fitted(Machine(image, image.cmdline, forwards=(PORT,)), "", lab.cache)
    print("starting", flush=True)
    while True:
        with closing(hypervisor("qemu").start(machine)):
            time.sleep(0.1)


def _asked_inside(entering_words: list[str], host: str, port: int) -> str:
    """What is wrong with what a process hears that is in the guest's network, as generators of load are."""
    program = f"import socket; print(socket.create_connection(('{host}', {port}), 20).recv(99).decode())"
    done = subprocess.run([*entering_words, sys.executable, "-c", program], capture_output=True, text=True)
    return "" if done.stdout.strip() == GREETING else f"{done.stdout} {done.stderr}"


def _image_that_asks(lab: Lab, cell: Cell) -> Image:
    made = {ASK.program: compiled(ASK, cell.arch, lab.cache)}
    return lab.image_with(cell, Contents(packages=("libc6",), made=made, programs=(ASK.program,)))


def _skip_without_a_checkout(lab: Lab, kernel: str) -> None:
    if kernel == "osv" and lab.osv_root is None:
        pytest.skip("OSV_ROOT names no OSv checkout")


def _skip_without(name: str) -> None:
    found = tried_network(name)
    if not found.present:
        pytest.skip(f"{name}: {found.found}")


def _host() -> dict[str, object]:
    """What no guest's network may change: this host's links, addresses, routes, rules, settings and mounts."""

    def said(*command: str) -> str:
        done = subprocess.run(command, capture_output=True, text=True)
        return re.sub(r"\b(valid|preferred)_lft \S+", "", done.stdout)

    settings = {}
    for path in Path("/proc/sys/net").rglob("*"):
        with suppress(OSError):
            settings[str(path)] = path.read_text() if path.is_file() else ""
    mounts = [line for line in Path("/proc/self/mounts").read_text().splitlines() if "nsfs" in line]
    return {
        "links": sorted(path.name for path in Path("/sys/class/net").iterdir()),
        "addresses": said(IP, "addr") if IP else "",
        "routes": Path("/proc/net/route").read_text(),
        "rules": said(NFT, "list", "ruleset") if NFT else "",
        "settings": {name: value for name, value in settings.items() if "/nf_conntrack_count" not in name},
        "mounts": mounts,
    }


def _marked(mark: str) -> set[int]:
    """This test's processes, this one and zombies excepted."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if f"{MARK}={mark}".encode() in path.read_bytes().split(b"\0"):
                found.add(int(path.parent.name))
    return found - {os.getpid()}


def _network_of(pid: str) -> str:
    return str(Path(f"/proc/{pid}/ns/net").readlink())


def _networks() -> set[str]:
    """The network namespaces that processes of this host are in."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/ns/net"):
        with suppress(OSError):
            found.add(str(path.readlink()))
    return found


def _soon(true: Callable[[], bool]) -> bool:
    """Whether it is so within some seconds: what was killed takes a moment to go."""
    for _ in range(50):
        if true():
            return True
        time.sleep(0.1)
    return true()


if __name__ == "__main__":
    {"ask": _ask_outside, "boot": _boot_for_ever}[sys.argv[1]](sys.argv[2])
