"""The tracer that watches data, at a debug stub that stops where no real guest does on request.

What it makes of real guests is in `test_faults`.
"""

import os
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from debug_stub import DebugStub

from harness.host.cache import Cache
from harness.kernels.symbols import Symbols
from harness.runner.osv import watching_tracer
from harness.runner.osv.exit_checkpoints import FUNCTIONS, Checkpoint, ExitCaller
from harness.runner.osv.watching_tracer import LOG, LOG_END, PROGRAM_BEGINS, WATCHED, WatchingTracer
from harness.vm.gdb_remote import GdbRemote

NAMES = {point: name + ("v" if point is Checkpoint.CREATED else "") for point, name in FUNCTIONS.items()}
VARIABLES = WATCHED | {LOG: 4096}
STACK, APPLICATION, BACK = 0x80000, 0x3000, 0x7777
PLACE = STACK - 64
"""Where `join` has its return address."""


@dataclass(frozen=True)
class Stop:
    """Where a vCPU of x86_64 stops: what was accessed (`watch:` and an address), its stack pointer, its first
    argument and its result; and what its memory has from then on."""

    pc: int
    accessed: str = ""
    stack: int = PLACE
    argument: int = 0
    result: int = 0
    memory: dict[int, bytes] = field(default_factory=dict)


@dataclass
class Stub(DebugStub):
    """QEMU's debug stub. `breakpoints` and `watchpoints` are those of now."""

    stops: list[Stop]
    can_watch: bool = True
    breakpoints: set[int] = field(default_factory=set)
    watchpoints: set[tuple[str, int]] = field(default_factory=set)
    memory: dict[int, bytes] = field(default_factory=dict)
    standing: Stop = field(default_factory=lambda: Stop(0))
    running: list[tuple[set[int], set[tuple[str, int]]]] = field(default_factory=list)
    """The breakpoints and watchpoints whenever the guest ran on."""

    def answer(self, packet: str) -> str:
        kind, here = packet[:2], self.standing
        if kind in ("Z1", "z1"):
            change = self.breakpoints.add if kind == "Z1" else self.breakpoints.discard
            change(int(packet.split(",")[1], 16))
            return "OK"
        if kind in ("Z2", "z2", "Z3", "z3"):
            change_watched = self.watchpoints.add if packet[0] == "Z" else self.watchpoints.discard
            change_watched((packet[1], int(packet.split(",")[1], 16)))
            return "OK" if self.can_watch else ""
        if packet == "g":
            registers = [here.result, 0, 0, 0, 0, here.argument, 0, here.stack, *[0] * 8, here.pc]
            return (struct.pack("<17Q", *registers) + bytes(100)).hex()
        if packet[0] == "m":
            return self.read(*(int(word, 16) for word in packet[1:].split(",")))
        if packet == "c":
            self.running.append((set(self.breakpoints), set(self.watchpoints)))
            if not self.stops:
                return "W00"
            self.standing = self.stops.pop(0)
            self.memory |= self.standing.memory
            return f"T05thread:01;{self.standing.accessed and self.standing.accessed + ';'}"
        return "l<target/>"

    def read(self, address: int, length: int) -> str:
        for start, data in self.memory.items():
            if start <= address < start + len(data):
                return data[address - start :][:length].hex()
        return "E14"


@pytest.fixture(scope="module")
def symbols(tmp_path_factory: pytest.TempPathFactory) -> Symbols:
    """Of an ELF that has the functions and the variables that are watched."""
    folder = tmp_path_factory.mktemp("kernel")
    functions = [f'.type "{name}",@function\n"{name}": .skip 64\n.size "{name}",64\n' for name in NAMES.values()]
    variables = [
        f'.type "{name}",@object\n"{name}": .skip {size}\n.size "{name}",{size}\n'
        for name, size in VARIABLES.items()
    ]
    (folder / "kernel.s").write_text(
        ".text\n.skip 4096\n" + "".join(functions) + ".p2align 12\n" + "".join(variables)
    )
    subprocess.run(["gcc", "-c", "-o", folder / "kernel.elf", folder / "kernel.s"], check=True)
    return Symbols(folder / "kernel.elf", Cache(folder / "cache"))


@dataclass
class Kernel:
    """Addresses of the kernel, and what becomes of a guest whose stops are given."""

    symbols: Symbols

    def at(self, point: Checkpoint) -> int:
        found = self.symbols.find(NAMES[point])
        assert found
        return found.address

    def variable(self, name: str) -> int:
        found = self.symbols.data(name)
        assert found
        return found.address

    def started(self) -> list[Stop]:
        """The stops of a main thread that waits for its first program."""
        back = {PLACE: struct.pack("<Q", BACK)}
        return [
            Stop(self.at(Checkpoint.MAIN), stack=STACK),
            Stop(self.at(Checkpoint.JOIN), argument=APPLICATION, memory=back),
        ]

    def logged(self, text: bytes, caller: int = 0, used: int = 100) -> Stop:
        """A stop in the kernel's log, which has `used` bytes of before, called from an address."""
        memory = {
            self.variable(LOG): bytes(used) + text, self.variable(LOG_END): struct.pack("<I", used + len(text)),
            0x90000: struct.pack("<4Q", 0, 0, caller, 0),
        }  # fmt: skip
        return Stop(0x10, f"watch:{self.variable(LOG_END):x}", 0x90000, memory=memory)


@pytest.fixture
def kernel(symbols: Symbols) -> Kernel:
    return Kernel(symbols)


@pytest.fixture
def trace(symbols: Symbols) -> Iterator[Callable[[Stub], WatchingTracer]]:
    """Trace the guest of a stub to its last stop."""
    ours, theirs = socket.socketpair()

    def follow(stub: Stub) -> WatchingTracer:
        thread = threading.Thread(target=stub.serve, args=(theirs,))
        thread.start()
        try:
            tracer = WatchingTracer(GdbRemote(ours, os.getpid()), symbols, "x86_64")
            tracer.start()
            while tracer.take():
                pass
        finally:
            ours.shutdown(socket.SHUT_RDWR)
            thread.join()
        assert stub.stops == []
        return tracer

    with ours, theirs:
        yield follow


def test_there_is_no_breakpoint_while_a_program_runs(
    kernel: Kernel, trace: Callable[[Stub], WatchingTracer]
) -> None:
    stub = Stub([*kernel.started(), Stop(BACK, f"rwatch:{PLACE:x}", PLACE + 8, result=3)])
    tracer = trace(stub)
    boot, before, runs, after = stub.running
    assert boot == ({kernel.at(point) for point in (Checkpoint.MAIN, Checkpoint.HALT, Checkpoint.POWEROFF)}, set())
    assert kernel.at(Checkpoint.EXIT) in before[0] and not before[1]
    assert runs == (set(), {("3", PLACE), *(("2", kernel.variable(name)) for name in WATCHED)})
    assert kernel.at(Checkpoint.POWEROFF) in after[0] and not after[1]
    assert [program.status for program in tracer.programs] == [3]
    assert tracer.complete


def test_a_stub_that_watches_no_data_gets_breakpoints(
    kernel: Kernel, trace: Callable[[Stub], WatchingTracer]
) -> None:
    stub = Stub([*kernel.started(), Stop(BACK, stack=PLACE + 8, result=3)], can_watch=False)
    tracer = trace(stub)
    assert {BACK, kernel.at(Checkpoint.EXIT), kernel.at(Checkpoint.HALT)} <= stub.running[2][0]
    assert [program.status for program in tracer.programs] == [3]


def test_what_else_reads_the_stack_is_no_return(kernel: Kernel, trace: Callable[[Stub], WatchingTracer]) -> None:
    another, return_ = (
        Stop(0x10, f"rwatch:{PLACE:x}", PLACE - 128, result=9),
        Stop(BACK, stack=PLACE + 8, result=3),
    )
    stub = Stub([*kernel.started(), another, return_])
    tracer = trace(stub)
    assert stub.running[3][0] == {BACK}
    assert [program.status for program in tracer.programs] == [3]


@pytest.mark.parametrize("stack", [PLACE + 256, PLACE - 256])
def test_a_return_that_another_stop_hid_leaves_the_console_to_decide(
    kernel: Kernel, trace: Callable[[Stub], WatchingTracer], stack: int
) -> None:
    """The main thread is told of later: it has returned, or called something else meanwhile."""
    overwritten = {PLACE: struct.pack("<Q", 5)} if stack < PLACE else {}
    late = Stop(0x10, f"rwatch:{PLACE:x}", stack, result=9, memory=overwritten)
    tracer = trace(Stub([*kernel.started(), late]))
    assert tracer.lost == [Checkpoint.JOINED]
    assert [program.status for program in tracer.programs] == [None]
    assert not tracer.complete


@pytest.mark.parametrize(("said", "status"), [(b"3", 3), (b"0", 0), (b"4294967295", -1)])
def test_exit_is_seen_by_its_line_in_the_log(
    kernel: Kernel, trace: Callable[[Stub], WatchingTracer], said: bytes, status: int
) -> None:
    line = b"program exited with status %s\n" % said
    stub = Stub([*kernel.started(), kernel.logged(line, kernel.at(Checkpoint.EXIT) + 32)])
    tracer = trace(stub)
    assert (tracer.exit_status, Checkpoint.EXIT in tracer.passed, tracer.complete) == (status, True, True)
    assert stub.running[3][0] == {kernel.at(Checkpoint.HALT), kernel.at(Checkpoint.POWEROFF)}


def test_a_line_of_anything_else_is_no_exit(kernel: Kernel, trace: Callable[[Stub], WatchingTracer]) -> None:
    stub = Stub([*kernel.started(), kernel.logged(b"program exited with status 3\n", kernel.at(Checkpoint.EXIT))])
    tracer = trace(stub)
    assert (tracer.exit_status, tracer.passed) == (None, [Checkpoint.MAIN])
    assert stub.running[3][0] == set()


def test_an_exit_whose_status_is_not_in_the_log_leaves_the_console_to_decide(
    kernel: Kernel, trace: Callable[[Stub], WatchingTracer]
) -> None:
    tracer = trace(Stub([*kernel.started(), kernel.logged(b"gone\n", kernel.at(Checkpoint.EXIT) + 32)]))
    assert Checkpoint.EXIT in tracer.passed
    assert not tracer.complete


def test_abort_is_seen_by_its_flag_with_what_it_was_given(
    kernel: Kernel, trace: Callable[[Stub], WatchingTracer]
) -> None:
    """The third argument is on the stack alone, between the second and the fourth."""
    flag = kernel.variable("_ZL8aborting")
    saved = {PLACE - 512: struct.pack("<8Q", 1, 2, 0, 0x4142, 0, 0, 0, 5), flag: b"\1"}
    inside = kernel.at(Checkpoint.ABORT) + 32
    stub = Stub([*kernel.started(), Stop(inside, f"watch:{flag:x}", PLACE - 512, argument=0x4000, memory=saved)])
    tracer = trace(stub)
    assert tracer.aborted and tracer.dead
    assert tracer.abort_arguments == (0x4000, 0, 0x4142, 0, 0, 0)
    assert kernel.at(Checkpoint.HALT) in stub.running[3][0]


def test_what_is_written_beside_the_flag_of_abort_is_none(
    kernel: Kernel, trace: Callable[[Stub], WatchingTracer]
) -> None:
    """QEMU before 8.1 tells of unaligned writes to the same page."""
    flag = kernel.variable("_ZL8aborting")
    stub = Stub([*kernel.started(), Stop(0x10, f"watch:{flag:x}", memory={flag: b"\0"})])
    tracer = trace(stub)
    assert not tracer.aborted and not tracer.dead
    assert stub.running[3] == stub.running[2]


def test_a_line_of_the_log_that_another_stop_hid_arms_what_tells_the_end(
    kernel: Kernel, trace: Callable[[Stub], WatchingTracer]
) -> None:
    flag = kernel.variable("_ZL8aborting")
    unseen = {kernel.variable(LOG_END): struct.pack("<I", 700), flag: b"\0"}
    stub = Stub([*kernel.started(), Stop(0x10, f"watch:{flag:x}", memory=unseen)])
    trace(stub)
    assert stub.running[3][0] == {kernel.at(Checkpoint.HALT), kernel.at(Checkpoint.POWEROFF)}


def test_a_program_of_nobody_known_leaves_open_who_exits(
    kernel: Kernel, trace: Callable[[Stub], WatchingTracer]
) -> None:
    begins = Stop(0x10, f"watch:{kernel.variable(PROGRAM_BEGINS):x}", 0x90000)
    line = kernel.logged(b"program exited with status 0\n", kernel.at(Checkpoint.EXIT) + 32)
    tracer = trace(Stub([*kernel.started(), begins, line]))
    assert (tracer.exit_status, tracer.exit_caller) == (0, ExitCaller.UNKNOWN)


def test_a_kernel_that_logs_without_end_gets_breakpoints(
    kernel: Kernel, trace: Callable[[Stub], WatchingTracer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching_tracer, "MOST_STOPS", 3)
    stub = Stub([*kernel.started(), *(kernel.logged(b"again\n", used=100 * more) for more in (1, 2, 3))])
    trace(stub)
    *_, second, last = stub.running
    assert not second[0] and kernel.at(Checkpoint.EXIT) in last[0]
    assert last[1] == {("3", PLACE)}
