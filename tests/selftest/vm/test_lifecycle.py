"""Guests leave nothing behind, however they end, and forks of one template share nothing that they write.

OSV_HARNESS_SOAK says how many guests are booted and how many are forked: 300/500 is a soak, the default is small.
"""

import hashlib
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from uuid import uuid4

import pytest
from descriptors import descriptors

from harness.core.cell import Cell
from harness.core.errors import HarnessError, HypervisorError
from harness.core.machine import Machine
from harness.runner.base import Program, Run
from harness.runner.guest import Guest
from harness.runner.linux.runner import LinuxRunner
from harness.runner.osv.runner import OsvRunner
from harness.runner.session import Session
from harness.runner.verdict import Outcome
from harness.vm.base import ExitCause
from harness.vm.registry import hypervisor

BOOTS, FORKS = (int(count) for count in os.environ.get("OSV_HARNESS_SOAK", "12/20").split("/"))
MARK = "OSV_HARNESS_SELFTEST_MARK"
LISTENING = "0A"  # Source: Linux, include/net/tcp_states.h


class Traces:
    """What the guests of one test have on this host: its processes are known by a mark in their environment,
    which children inherit, so that one that was left by its parent is found too."""

    def __init__(self, mark: str, temporary: Path) -> None:
        self._mark = f"{MARK}={mark}".encode()
        self._temporary = temporary
        self._before = self.ours()
        self._done = threading.Event()
        self.sockets: set[str] = set()
        self.listened: set[str] = set()
        self.seen: set[int] = set()

    def processes(self) -> set[int]:
        """Every process of this host with the mark, zombies excepted, for their environment is gone."""
        found = set()
        for path in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if self._mark in path.read_bytes().split(b"\0"):
                    found.add(int(path.parent.name))
        return found

    def watch(self) -> None:
        """Note the sockets of marked processes until told to end."""
        while not self._done.wait(0.1):
            processes = self.processes()
            self.seen |= processes
            held = {inode for pid in processes for inode in _sockets(pid)}
            self.sockets |= held
            self.listened |= held & {inode for inode, state in _tcp().items() if state == LISTENING}

    def end(self) -> None:
        self._done.set()

    def check(self) -> None:
        """Nothing of what was seen is left."""
        for _ in range(50):  # a killed process loses its environment first, its memory then, its sockets last
            if not self.processes() and not self._left():
                break
            time.sleep(0.1)
        assert not self.processes()
        assert self.seen, "no guest's process was seen"
        assert not self._left()
        assert not list(self._temporary.iterdir())
        files, children, threads = self.ours()
        files_before, children_before, threads_before = self._before  # an earlier test's may have ended meanwhile
        assert not files.items() - files_before.items()
        assert not children - children_before
        assert threads <= threads_before

    def _left(self) -> set[str]:
        """Those of the sockets seen that are still there."""
        return self.sockets & (_unix() | set(_tcp()))

    @staticmethod
    def ours() -> tuple[dict[str, str], set[str], int]:
        """This process's descriptors, children and how many threads it has."""
        return descriptors(), _children(), threading.active_count()


@pytest.fixture
def traces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, session: Session) -> Iterator[Traces]:
    """Watches this test's guests, and checks after it that they left nothing."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    mark = uuid4().hex
    monkeypatch.setenv(MARK, mark)
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    found = Traces(mark, temporary)
    watcher = threading.Thread(target=found.watch)
    watcher.start()
    try:
        yield found
    finally:
        found.end()
        watcher.join()
    found.check()


@pytest.fixture
def osv_cell(session: Session) -> Cell:
    if session.osv_root is None:
        pytest.skip("OSV_ROOT names no OSv checkout")
    return session.cell("osv:x86_64-qemu-rofs")


def test_linux_guests_leave_nothing_behind_however_they_end(session: Session, traces: Traces) -> None:
    """Booted with a network and a forwarded port; powered off, killed or given up at any moment."""
    cell = session.cell("linux:x86_64-qemu-rofs")
    image, accelerator = session.image(cell), session.accelerator(cell)
    machine = Machine(image, f"{image.cmdline} -- true", accelerator=accelerator, network=True, forwards=(80,))
    driver = hypervisor("qemu")

    def boot(wait: float) -> str:
        try:
            vm = driver.start(machine)
        except HypervisorError:
            return "killed"
        with Guest(machine, vm) as guest:
            try:
                vm.resume()
                assert vm.ports()
            except HypervisorError:
                return "killed"
            guest.wait(lambda: guest.closed, time.monotonic() + wait)
            if not guest.closed:
                return "given up"
            exit_status = vm.wait_for_exit()
            assert exit_status is not None
            assert exit_status.cause in (ExitCause.POWERED_OFF, ExitCause.KILLED), exit_status
            return str(exit_status.cause)

    dice = random.Random(1)
    ends = []
    for number in range(BOOTS):
        how = number % 3
        with _killer(dice.uniform(0, 2.5)) if how == 1 else nullcontext():
            ends.append(boot(dice.uniform(0, 2.0) if how == 2 else 120))
    assert {"powered_off", "killed", "given up"} <= set(ends), ends
    assert ends[::3] == ["powered_off"] * len(ends[::3])
    assert traces.listened, "no guest listened on its forwarded port"


def test_osv_guests_leave_nothing_behind_however_they_end(
    session: Session, osv_cell: Cell, traces: Traces
) -> None:
    """A hypervisor that somebody kills is never the kernel's fault, and costs nothing but its own test."""
    runner, program = session.runner(osv_cell), session.program(osv_cell, "tst-hello.so")
    dice, killed = random.Random(2), 0
    for number in range(BOOTS):
        if number % 3 == 1:
            with _killer(dice.uniform(0, 0.8)) as ended:
                assert runner.run(program).verdict.outcome in (Outcome.PASSED, Outcome.HARNESS_ERROR)
            killed += len(ended)
        else:
            _passed(runner.run(program))
    assert killed, "nothing was there to be killed at any of the moments"


def test_a_killed_harness_takes_its_guests_along(session: Session, traces: Traces) -> None:
    """SIGKILL at any moment, while QEMU starts included: nobody is left to tidy up."""
    session.runner(session.cell("linux:x86_64-qemu-rofs"))  # built by now
    dice = random.Random(3)
    for _ in range(max(3, BOOTS // 10)):
        with subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE) as harness:
            assert harness.stdout
            assert harness.stdout.readline() == b"starting\n"
            time.sleep(dice.uniform(0, 0.3))
            harness.kill()


@pytest.mark.parametrize(
    "fails",
    [
        "vm.qemu.driver.with_unnamed_overlays",
        "vm.qemu.driver.VmProcess",
        "vm.qemu.driver.Qmp",
        "vm.qemu.driver.wiring_of",
        "runner.guest.HostEffects",
    ],
)
def test_a_start_that_fails_half_way_holds_nothing(
    session: Session, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    """Each part of a start fails in turn, in a way that nobody expects."""
    cell = session.cell("linux:x86_64-qemu-rofs")
    image, driver = session.image(cell), hypervisor("qemu")
    machine = Machine(image, f"{image.cmdline} -- true", accelerator=session.accelerator(cell))
    before = Traces.ours()

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError(fails)

    monkeypatch.setattr(f"harness.{fails}", fail)
    with pytest.raises(ZeroDivisionError, match=fails) as caught:
        Guest(machine, driver.start(machine))
    assert caught.tb, "its frames still have what was not closed"
    assert Traces.ours() == before


@pytest.mark.parametrize("fs", ["rofs", "ext"])
def test_forks_of_linux_see_no_others_writes(session: Session, traces: Traces, fs: str) -> None:
    """Each writes its own number to memory and, where it can, to its disk, and finds nobody else's there."""
    cell = session.cell(f"linux:x86_64-qemu-{fs}")
    runner = session.runner(cell)
    assert isinstance(runner, LinuxRunner)
    folders = ("/dev/shm", "/var", "/") if fs == "ext" else ("/dev/shm", "/tmp")

    def program(number: int) -> Program:
        writes = "; ".join(
            f"set -- {folder}/mark-*; [ -e $1 ] && exit 9; "
            f"printf %065536d {number} > {folder}/mark-{number} || exit 8"
            for folder in folders
        )
        reads = "; ".join(f"[ $(cat {folder}/mark-*) = $wanted ] || exit 7" for folder in folders)
        forget = "sync; echo 3 > /proc/sys/vm/drop_caches"
        return Program("writes", f"{writes}; {forget}; wanted=$(printf %065536d {number}); {reads}", 120)

    _passed(runner.run(program(FORKS)))
    template = runner.template(runner.machine(program(0)))
    assert template
    made = _digests(template.folder)
    for run in _two_at_a_time(runner.run, [program(number) for number in range(FORKS)]):
        _passed(run)
        assert run.origin == "forked"
    assert _digests(template.folder) == made


def test_forks_of_osv_see_no_others_writes(session: Session, osv_cell: Cell, traces: Traces) -> None:
    """Each is given its own command in memory, and the template stays as it was made."""
    booting = session.runner(osv_cell)
    runner = OsvRunner(booting.image, hypervisor("qemu"), booting.accelerator, session.cache, fork=True)
    hello = session.program(osv_cell, "tst-hello.so").command

    def program(number: int) -> Program:
        return Program("hello", f"{hello} {'.' * (number % 300)} number {number}", 240)

    template = runner.template(program(0))
    assert template
    made = _digests(template.folder)
    for number, run in enumerate(_two_at_a_time(runner.run, [program(number) for number in range(FORKS)])):
        _passed(run)
        assert run.origin == "forked"
        # Another thread of the kernel may end the line with a message of its own.
        commands = re.findall(rb"Cmdline: (\S+ [.]* ?number \d+)", run.transcript.raw)
        assert commands == [program(number).command.encode()]
    assert _digests(template.folder) == made


def test_a_fork_that_is_killed_leaves_nothing_behind(session: Session, traces: Traces) -> None:
    """At any moment, while it takes the template's state in included."""
    cell = session.cell("linux:x86_64-qemu-rofs")
    runner = session.runner(cell)
    program = Program("waits", "sleep 0.2", 60)
    _passed(runner.run(program))
    dice, killed = random.Random(4), 0
    for _ in range(FORKS // 2):
        with _killer(dice.uniform(0, 0.5)) as ended:
            assert runner.run(program).verdict.outcome in (Outcome.PASSED, Outcome.HARNESS_ERROR)
        killed += len(ended)
    assert killed, "nothing was there to be killed at any of the moments"


def _passed(run: Run) -> None:
    assert run.verdict.outcome is Outcome.PASSED, (run.verdict.reason, [line.text for line in run.verdict.lines])


def _two_at_a_time(run: Callable[[Program], Run], programs: list[Program]) -> list[Run]:
    with ThreadPoolExecutor(2) as pool:  # a guest dies with the thread that started it, so these outlive them all
        return list(pool.map(run, programs))


@contextmanager
def _killer(delay: float) -> Iterator[list[int]]:
    """Kills every child that this process has after `delay` seconds; gives those that it killed."""
    killed: list[int] = []

    def kill() -> None:
        for pid in map(int, _children()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    timer = threading.Timer(delay, kill)
    timer.start()
    try:
        yield killed
    finally:
        timer.cancel()
        timer.join()


def _children() -> set[str]:
    """The children that run: of another test's that has ended Python may still keep the status."""
    every = {pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}
    return {pid for pid in every if Path(f"/proc/{pid}/exe").exists()}


def _sockets(pid: int) -> set[str]:
    """The inodes of a process's sockets."""
    found = set()
    with suppress(OSError):
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                if match := re.fullmatch(r"socket:\[(\d+)\]", str(path.readlink())):
                    found.add(match[1])
    return found


def _unix() -> set[str]:
    """The inodes of this host's UNIX sockets."""
    return {line.split()[6] for line in Path("/proc/net/unix").read_text().splitlines()[1:]}


def _tcp() -> dict[str, str]:
    """The state of each of this host's TCP sockets, by inode."""
    lines = [line for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
    return {line.split()[9]: line.split()[3] for line in lines}


def _digests(folder: Path) -> dict[str, str]:
    found = {}
    for path in folder.iterdir():
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _boot_for_ever() -> None:
    """What `test_a_killed_harness_takes_its_guests_along` kills."""
    session = Session()
    cell = session.cell("linux:x86_64-qemu-rofs")
    runner = session.runner(cell)
    assert isinstance(runner, LinuxRunner)
    machine = runner.machine(Program("any", "true", 60))
    print("starting", flush=True)
    for _ in range(5):
        with suppress(HarnessError), Guest(machine, hypervisor("qemu").start(machine)):
            time.sleep(0.1)


if __name__ == "__main__":
    _boot_for_ever()
