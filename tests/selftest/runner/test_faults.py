"""The table of what can become of a guest: each row a situation, how it is brought about, and its verdict.

Rows of Linux run on guests everywhere. Rows of OSv run on guests where OSV_ROOT names a checkout; everywhere the
consoles that they left (`consoles/`) are judged again. `--record` records those anew.
"""

import os
import platform
import re
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from recording import Recorder, Recording, record, recordings, replay

from harness.core.cell import Cell
from harness.host.cache import Cache
from harness.report import evidence
from harness.runner.base import Program, Run
from harness.runner.linux.runner import LinuxRunner
from harness.runner.session import Session
from harness.vm.base import Template, Vm, snapshots_of
from harness.vm.gdb_remote import GdbRemote
from harness.vm.registry import hypervisor

ARCH = platform.machine()
ENOUGH = 120.0  # seconds: what no row but those of hanging guests is to need
MACHINES = {"x86_64": 62, "aarch64": 183}  # Source: ELF, e_machine


def program_of(**code: str) -> str:
    """A shell command that makes and runs a program of nothing but this machine code, in hex by arch."""
    text = bytes.fromhex(code[ARCH])
    header = b"\x7fELF\x02\x01\x01" + bytes(9)
    header += struct.pack("<HHIQQQIHHHHHH", 2, MACHINES[ARCH], 1, 0x400078, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    header += struct.pack("<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, 0x1000, 0x1000, 0x1000)
    octal = "".join(f"\\{byte:03o}" for byte in header + text)
    return f"printf '{octal}' > /tmp/p; chmod +x /tmp/p; /tmp/p"


# What is done to a guest from outside while its program runs, in a thread of its own.


def kill_qemu(vm: Vm) -> None:
    os.kill(vm.pid, signal.SIGKILL)


def stop_qemu(vm: Vm) -> None:
    os.kill(vm.pid, signal.SIGSTOP)


def cut_monitor(vm: Any) -> None:
    vm.qmp._socket.shutdown(socket.SHUT_RDWR)


def cut_control_line(vm: Any) -> None:
    vm.control.shutdown(socket.SHUT_RDWR)


RIP, EFLAGS = 16, 17  # Source: gdb's order of x86_64's registers
KERNEL = 0xFFFF800000000000
INTERRUPTS = 0x200
HALT = b"\xf4"
"""The instruction that waits for an interrupt: the kernel's, with interrupts on, for programs may not."""


def idles(gdb: GdbRemote) -> bool:
    return gdb.read(gdb.register(RIP) - 1, 1) == HALT


def serves_a_program(gdb: GdbRemote) -> bool:
    """It is in the kernel, with interrupts on."""
    return gdb.register(RIP) >= KERNEL and bool(gdb.register(EFLAGS) & INTERRUPTS) and not idles(gdb)


def write_kernel_code(code: str, once: Callable[[GdbRemote], bool] = idles) -> Callable[[Vm], None]:
    """Put machine code where the kernel stands: in its idle loop, where the program sleeps."""

    def act(vm: Vm) -> None:
        assert vm.debug
        vm.debug.sendall(b"\x03")  # only a guest that stands answers the stub's client
        vm.debug.recv(4096)
        gdb = GdbRemote(vm.debug, vm.pid)
        while not once(gdb):
            gdb.resume()
            time.sleep(0.1)
            gdb.interrupt()
        gdb.write(gdb.register(RIP), bytes.fromhex(code))
        gdb.resume()

    return act


@dataclass(frozen=True)
class Row:
    """`reason` is a part of the verdict's; `code` rows are only of x86_64; `console_only` and `because` say what
    is made of a recording where nothing but the console is known, if that is another verdict."""

    situation: str
    command: str
    outcome: str
    reason: str
    limit: float = ENOUGH
    memory: int = 512
    cpus: int = 1
    outside: Callable[[Vm], None] | None = None
    arch: str = ""
    shows: str = ""
    console_only: str = ""
    because: str = ""


PASSES = "status 0 and the guest ended cleanly"
EAT_MEMORY = "dd if=/dev/zero of=/dev/null bs=85M count=1"  # of the 94 that a guest of 128 has to give
PRINTED = "text like a kernel's fault came from the program"
HANG = 2.0  # seconds, for rows that are to use up their limit

OLD_PANIC = "echo '[   12.345678] Kernel panic - not syncing: from an old log'"
# Counts to 64 million, writes ".\\n", and again.
PROGRESS = "b900000004ffc975fcb801000000bf01000000be99004000ba020000000f05ebdf2e0a"

LINUX = [
    Row("clean pass", "true", "passed", PASSES),
    Row("quiet exit 1", "false", "failed", "status 1"),
    Row("exit 0 after printing FAIL in ordinary text", "echo FAIL: 3 of 3; echo Error", "passed", PASSES),
    Row("abort", "kill -ABRT $$", "failed", "status 134"),
    Row("uncaught signal", "kill -TERM $$", "failed", "status 143"),
    Row("page fault in the program", program_of(x86_64="c704250000000001000000", aarch64="1f0000f9"),
        "failed", "status 139"),
    Row("privileged instruction in the program", program_of(x86_64="f4", aarch64="df4003d5"),
        "failed", "status 1"),
    Row("nested program that fails on purpose", "sh -c 'exit 3'; [ $? = 3 ]", "passed", PASSES),
    Row("program missing", "/nowhere/program", "failed", "status 127"),
    Row("out of memory: the kernel kills the program", EAT_MEMORY, "failed", "status 137", memory=128),
    Row("out of memory: the kernel panics", f"echo 1 > /proc/sys/vm/panic_on_oom; {EAT_MEMORY}", "crashed",
        "Kernel panic - not syncing: Out of memory", memory=128),
    Row("panic", "echo c > /proc/sysrq-trigger", "crashed", "Kernel panic - not syncing: sysrq triggered crash"),
    Row("panic after the summary", "echo '12 passed, 0 failed'; echo c > /proc/sysrq-trigger", "crashed",
        "Kernel panic", shows="12 passed, 0 failed"),
    Row("page fault in the kernel", "sleep 1000", "crashed", "BUG: kernel NULL pointer dereference",
        outside=write_kernel_code("c704250800000000000000"), arch="x86_64"),
    Row("general protection fault in the kernel", "sleep 1000", "crashed", "general protection fault",
        outside=write_kernel_code("48b80000000000000080c60000"), arch="x86_64"),
    Row("bad instruction in the kernel", "sleep 1000", "crashed", "invalid opcode: 0000 [#1]",
        outside=write_kernel_code("0f0b0f0b"), arch="x86_64"),
    Row("the kernel locks up", "echo 1 > /proc/sys/kernel/watchdog_thresh; cat /dev/zero > /dev/null",
        "crashed", "watchdog: BUG: soft lockup - CPU#0 stuck",
        outside=write_kernel_code("ebfe", serves_a_program), arch="x86_64"),
    Row("hang idle", "sleep 1000", "hung", "nothing ran any more", limit=HANG),
    Row("hang spinning", program_of(x86_64="ebfe", aarch64="00000014"), "hung", "spun in one place", limit=HANG),
    Row("works for too long", "while :; do sha256sum /bin/busybox; done > /dev/null", "timed_out", "still running",
        limit=HANG),
    Row("kills whatever it may, its own shell and what waits for it included", "kill -9 -1", "hung",
        "nothing ran any more", limit=HANG),
    Row("reset", "echo b > /proc/sysrq-trigger", "guest_ended", "it was reset"),
    Row("triple fault", "echo triple > /sys/kernel/reboot/type; reboot -f", "guest_ended", "it was reset",
        arch="x86_64"),
    Row("power-off in mid-test", "poweroff -f", "guest_ended", "it powered off"),
    Row("prints Powering off. and what the harness's agent says, then fails",
        "echo Powering off.; echo 'exited 0 0'; echo '0123456789abcdef end'; exit 1", "failed", "status 1"),
    Row("prints a kernel's words without their time", "echo 'Kernel panic - not syncing'; echo 'BUG: '", "passed",
        PRINTED),
    Row("prints a line of a panic with a time", OLD_PANIC, "passed", PRINTED),
    Row("prints a line of a panic with a time and fails", f"{OLD_PANIC}; exit 3", "failed", "status 3"),
    Row("prints a line of a panic and is reset", f"{OLD_PANIC}; echo b > /proc/sysrq-trigger", "guest_ended",
        "it was reset, which is also what a triple fault does (the console has text like a kernel's fault"),
    Row("prints a line of a panic and powers off", f"{OLD_PANIC}; poweroff -f", "guest_ended", "it powered off"),
    Row("prints a line of a panic and hangs", f"{OLD_PANIC}; sleep 1000", "hung", "nothing ran", limit=HANG),
    Row("prints a line of a panic and spins", f"{OLD_PANIC}; {program_of(x86_64='ebfe', aarch64='00000014')}",
        "hung", "spun in one place", limit=HANG),
    Row("prints a line of a panic, and QEMU is killed", f"{OLD_PANIC}; sleep 1000", "harness_error",
        "ended by SIGKILL", outside=kill_qemu),
    Row("prints lines of a panic without an end", f"yes \"$({OLD_PANIC})\"", "timed_out", "still running",
        limit=HANG),
    Row("prints what looks like a time and a BUG", "echo 'sample[17.4] BUG: 3 known'", "passed", PASSES),
    Row("puts lines like a kernel's faults into its log",
        "echo '<0>Kernel panic - not syncing: x' > /dev/kmsg; echo '<3>foo: DEBUG: ' > /dev/kmsg", "passed",
        PRINTED, shows="Kernel panic - not syncing: x"),
    Row("a child's page fault at console level 8",
        f"dmesg -n 8; {program_of(x86_64='c704250000000001000000', aarch64='1f0000f9')}; true", "passed", PASSES,
        arch="x86_64", shows="segfault at"),
    Row("a child's general protection fault at console level 8",
        f"dmesg -n 8; {program_of(x86_64='f4', aarch64='df4003d5')}; true", "passed", PASSES, arch="x86_64",
        shows="general protection fault"),
    Row("ends what passes the kernel's log on", "kill -9 $(pidof dd); true", "passed", PASSES),
    Row("ends what passes the kernel's log on, and panics",
        "kill -9 $(pidof dd); echo c > /proc/sysrq-trigger", "crashed", "Kernel panic"),
    Row("a panic of a kernel that was told to leave the time out",
        "echo N > /sys/module/printk/parameters/time; echo c > /proc/sysrq-trigger", "crashed", "Kernel panic"),
    Row("prints a line each second to its limit", "while :; do echo tick; sleep 1; done", "timed_out",
        "still running", limit=2 * HANG),
    Row("sleeps three seconds between its lines", "while :; do sleep 3; echo tick; done", "timed_out",
        "still running", limit=4 * HANG),
    Row("works in a tight loop and prints its progress", program_of(x86_64=PROGRESS, aarch64="00000014"),
        "timed_out", "still running", limit=2 * HANG, arch="x86_64"),
    Row("a flood to its limit", "yes", "timed_out", "still running", limit=HANG),
    Row("prints, and then hangs", "echo tick; sleep 1; echo tick; sleep 1000", "hung", "nothing ran",
        limit=4 * HANG),
    Row("tells the harness's agent's line that all is well",
        "for p in /dev/vport*; do echo 'exited 0 0' > $p; done 2> /dev/null; exit 1", "failed", "status 1"),
    Row("NUL bytes, invalid UTF-8 and escape sequences",
        r"printf 'a\0b\377\376(\033[2J\033]0;title\007\033[31mred\342\200\256\2335n\r\b\b\n\0'; exit 1",
        "failed", "status 1", shows=r"a\x00b\xff\xfe(red\u202e\x9b5n"),
    Row("a line without an end", "printf 'no end'; exit 1", "failed", "status 1", shows="no end"),
    Row("a flood", "yes 'not a word of the kernel' | head -n 20000; exit 1", "failed", "status 1"),
    Row("a long line without a newline", "head -c 300000 /dev/zero | tr '\\0' x; exit 1", "failed", "status 1",
        shows="xxxxxx … "),
    Row("leaves a talkative process behind", "(while :; do echo still here; done) & true", "passed", PASSES),
    Row("changes how the console's lines end", "stty -F /dev/console raw -echo; echo FAIL", "passed", PASSES),
    Row("QEMU killed", "sleep 1000", "harness_error", "ended by SIGKILL", outside=kill_qemu),
    Row("QEMU stopped", "sleep 1000", "harness_error", "no longer answers", outside=stop_qemu, limit=HANG),
    Row("QMP socket gone", "sleep 1000", "harness_error", "control socket", outside=cut_monitor, limit=HANG),
    Row("control line gone", "sleep 1000", "harness_error", "closed a line to the guest",
        outside=cut_control_line),
]  # fmt: skip

FAULTS, NESTED, UNLOADED = (f"/tmp/faults/{name}.so" for name in ("fault", "nested", "unloaded"))

OSV = [
    Row("clean pass", "pass", "passed", PASSES),
    Row("exit(0)", "exit 0", "passed", PASSES),
    Row("quiet exit 1", "return 1", "failed", "status 1"),
    Row("exit(3)", "exit 3", "failed", "status 3"),
    Row("negative status", "return -1", "failed", "status -1"),
    Row("exit(3) in another thread", "thread-exit 3", "failed", "status 3"),
    Row("exit 0 after printing FAIL in ordinary text", "prints-fail", "passed", PASSES),
    Row("upstream's test that returns 1 quietly", "/tests/tst-utimes.so", "failed", "status 1"),
    Row("nested program that fails on purpose", "/tests/tst-without-namespace.so", "passed", PASSES,
        console_only="failed", because="its line looks like the test's own, unless the catalog names it"),
    Row("program missing", "/tests/nothere.so", "failed", "Failed to load object: /tests/nothere.so"),
    Row("the kernel refuses its command line", "--nonsense", "boot_failed", "never started the program"),
    Row("not an ELF file", "/tmp/faults/script.so", "failed", "could not start the program: "),
    Row("an empty file", "/tmp/faults/empty.so", "failed", "could not start the program: "),
    Row("an ELF file that was cut", "/tmp/faults/cut.so", "failed", "could not start the program: "),
    Row("a program for another arch", "/tmp/faults/other-arch.so", "failed", "could not start the program: "),
    Row("a library, which has no main", "/tmp/faults/library.so", "crashed", ": "),
    Row("a symbol that nothing has", "/tmp/faults/missing-symbol.so", "crashed", "looking up symbol nowhere"),
    Row("assertion", "assert", "crashed", "Assertion failed: number == 42"),
    Row("abort", "abort", "crashed", "abort: Aborted"),
    Row("page fault in the program", "segv", "crashed", "abort: Aborted"),
    Row("page fault in the kernel", "kernel-page-fault", "crashed", "page fault outside application"),
    Row("general protection fault", "gpf", "crashed", "general protection fault", arch="x86_64"),
    Row("bad instruction", "illegal", "crashed", "DUMMY_HANDLER for invalid_opcode", arch="x86_64"),
    Row("bad instruction", "illegal", "crashed", "unexpected synchronous exception", arch="aarch64"),
    Row("call of address 0", "call-null", "crashed", "trying to execute null pointer"),
    Row("out of memory", "oom", "crashed", "Out of memory: could not reclaim any further", memory=128),
    Row("uncaught signal", "signal", "crashed", "Uncaught signal 15"),
    Row("page fault after the summary", "summary-then-fault", "crashed", "page fault outside application",
        shows="SUMMARY: 12 tests / 0 failures"),
    Row("abort in the middle of another thread's output", "chatter-abort", "crashed", "bort", cpus=2),
    Row("page fault in the middle of another thread's output", "chatter-page-fault", "crashed", ": ", cpus=2),
    Row("hang idle", "idle", "hung", "nothing ran any more", limit=HANG),
    Row("hang spinning", "spin", "hung", "spun in one place", limit=HANG),
    Row("returns 0 and leaves a thread spinning", "thread-left", "hung", "spun in one place", limit=HANG),
    Row("exits beside a thread that spins", "exit-beside-spin 3", "failed", "the program ended with status 3",
        limit=HANG),
    Row("reset", "reboot", "guest_ended", "it was reset"),
    Row("triple fault", "triple-fault", "guest_ended", "it was reset", arch="x86_64"),
    Row("power-off in mid-test", "power-off", "guest_ended", "it powered off"),
    Row("halt in mid-test", "halt", "guest_ended", "the kernel halted",
        console_only="hung", because="it says nothing of it on the console"),
    Row("prints Powering off. and statuses, then fails", "marker", "failed", "status 1"),
    Row("prints a kernel's faults and ends well", "fault-text", "passed", "came from the program",
        console_only="crashed", because="text is all there is"),
    Row("prints a kernel's faults and fails", "fault-text 1", "failed", "status 1",
        console_only="crashed", because="text is all there is"),
    Row("prints a kernel's faults and hangs", "fault-text-then-idle", "hung", "nothing ran any more", limit=HANG,
        console_only="crashed", because="text is all there is"),
    Row("prints a word of a fault and turns the machine off by a port", "fault-text-then-off", "guest_ended",
        "not seen to die: log: Transfer Aborted", arch="x86_64",
        console_only="crashed", because="text is all there is"),
    Row("prints a word of a fault and spins", "fault-text-then-spin", "hung", "spun in one place", limit=HANG,
        console_only="crashed", because="text is all there is"),
    Row("prints a word of a fault and is reset", "fault-text-then-reset", "guest_ended", "it was reset",
        arch="x86_64", console_only="crashed", because="text is all there is"),
    Row("prints the kernel's words of a failed launch", "load-failure-text", "passed", PASSES,
        console_only="failed", because="text is all there is"),
    Row("prints a status that it does not return", "status-text", "failed",
        "no status but 0, and its console says: program /tmp/faults/fault.so returned 1"),
    Row("prints an exit that it does not make", "exit-text", "failed", "program exited with status 1"),
    Row("aborts with words that were never loaded", f"{UNLOADED} words", "crashed", "planted death", arch="x86_64",
        console_only="hung", because="it says nothing of it on the console"),
    Row("aborts with words that were never loaded", f"{UNLOADED} words", "crashed", "planted death",
        arch="aarch64"),
    Row("assertion in a function, whose words were never loaded", f"{UNLOADED} assertion", "crashed",
        "Assertion failed: found == 42 (unloaded.c: check_in_a_function: ", arch="x86_64",
        console_only="hung", because="it says nothing of it on the console"),
    Row("assertion in a function, whose words were never loaded", f"{UNLOADED} assertion", "crashed",
        "Assertion failed: found == 42 (unloaded.c: check_in_a_function: ", arch="aarch64"),
    Row("aborts without a word", "abort-empty", "crashed", "abort: without a message",
        console_only="crashed", because="the backtrace is on the console"),
    Row("the kernel is reset where it should power off", "breaks-poweroff", "guest_ended",
        "status 0; the guest did not end cleanly: it was reset", arch="x86_64"),
    Row("two programs, the second of which fails", f"{FAULTS} pass; {FAULTS} return 1", "failed", "status 1"),
    Row("two programs, the first of which fails", f"{FAULTS} return 1; {FAULTS} pass", "failed", "status 1"),
    Row("two programs at once", f"{FAULTS} pass & {FAULTS} pass", "passed", PASSES),
    Row("two programs at once, the first of which fails", f"{FAULTS} return 1 & {FAULTS} pass", "failed",
        "status 1"),
    Row("a program in the background", f"{FAULTS} pass &", "passed", PASSES),
    Row("a program that nothing waits for", f"{FAULTS} pass &! {FAULTS} pass", "passed", PASSES),
    Row("a program that nothing waits for and that fails", f"{FAULTS} return 1 &! {FAULTS} pass", "failed",
        "status 1"),
    Row("exit(0) of a program that the test started", f"{NESTED} exit 0", "guest_ended",
        "called exit(0), which ends the guest", console_only="passed", because="whose it is can't be seen"),
    Row("a program that the test started fails, as the test wants", f"{NESTED} return 3 0", "passed", PASSES,
        console_only="failed", because="its line looks like the test's own, unless the catalog names it"),
    Row("NUL bytes, invalid UTF-8 and escape sequences", "garbage", "passed", PASSES),
    Row("a line without an end", "no-newline", "passed", PASSES),
    Row("a flood", "flood 300", "passed", PASSES),
    Row("a long line without a newline", "long-line 70000", "passed", PASSES),
]  # fmt: skip

WITH_FOUR = {
    f"{UNLOADED} words": ("crashed", "abort: "),
    f"{UNLOADED} assertion": ("crashed", "abort: "),
    f"{NESTED} return 3 0": ("failed", "its console says: program /tmp/faults/nested.so returned 3"),
}
"""Verdicts where neither abort nor the making of programs is watched. Lines of programs that a test runs are named
in the catalog then."""

OSV_ROWS = [(arch, row) for row in OSV for arch in (row.arch or "x86_64", *(() if row.arch else ("aarch64",)))]


@pytest.fixture(scope="module")
def linux(session: Session) -> Cell:
    return session.cell(f"linux:{ARCH}-qemu-rofs-all")


@pytest.mark.parametrize("row", LINUX, ids=lambda row: row.situation)
def test_fault_on_linux(session: Session, linux: Cell, tmp_path: Path, row: Row) -> None:
    if row.arch and row.arch != ARCH:
        pytest.skip(f"{row.situation} is brought about by code of {row.arch}")
    program = Program(row.situation, row.command, row.limit, row.cpus, row.memory)
    runner = session.runner(linux)
    if row.outside:
        meddled = Meddled(row.outside)
        runner = LinuxRunner(session.image(linux), meddled, session.accelerator(linux), session.cache, 4)
    run = runner.run(program)
    if row.outside:
        meddled.assert_done()
    agree(run, row.outcome, row.reason)
    keep(run, session, linux, tmp_path, row.shows)


@pytest.mark.parametrize(("arch", "row"), OSV_ROWS, ids=lambda value: getattr(value, "situation", value))
def test_fault_on_osv(
    osv_with_faults: Callable[[str], Recorder], arch: str, row: Row, request: pytest.FixtureRequest
) -> None:
    runner = osv_with_faults(arch)
    if arch == "x86_64" and runner.accelerator == "kvm":
        run = run_with_four(runner, row)
    else:
        run = runner.run(Program(row.situation, command_of(row), row.limit, row.cpus, row.memory))
        agree(run, row.outcome, row.reason)
    if row.shows:
        assert row.shows.encode() in run.transcript.raw
    if request.config.getoption("--record"):
        expected = {
            "outcome": row.outcome, "reason": row.reason,
            "console_only": row.console_only or row.outcome, "because": row.because,
        }  # fmt: skip
        record(name_of(arch, row), row.situation, runner.image.cell, run, runner.tracer, expected)


def command_of(row: Row) -> str:
    """A command line of OSv's, or what our own program is told to do."""
    return row.command if row.command.startswith(("/", "--")) else f"{FAULTS} {row.command}"


def run_with_four(runner: Recorder, row: Row) -> Run:
    """The run, whose verdict is the expected one where four breakpoints are all that there are."""
    command = command_of(row)
    # The kernel that can't read its words never halts, and nothing tells of its abort before the limit.
    limit = HANG if command.startswith(UNLOADED) else row.limit
    run = runner.run(Program(row.situation, command, limit, row.cpus, row.memory))
    agree(run, *WITH_FOUR.get(row.command, (row.outcome, row.reason)))
    return run


@pytest.mark.parametrize("row", [row for row in OSV if row.arch in ("", "x86_64")], ids=lambda row: row.situation)
def test_fault_on_osv_with_the_four_breakpoints_of_hardware(
    osv_with_faults: Callable[[str], Recorder], row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As under KVM on x86_64: a fifth is refused. What then can't be known is in `WITH_FOUR`."""
    held: set[int] = set()
    refused: list[int] = []
    really, back = GdbRemote.set_breakpoint, GdbRemote.clear_breakpoint

    def set_one_of_four(stub: GdbRemote, address: int) -> bool:
        if len(held) == 4:
            refused.append(address)
            return False
        held.add(address)
        return really(stub, address)

    def give_back(stub: GdbRemote, address: int) -> None:
        held.discard(address)
        back(stub, address)

    monkeypatch.setattr(GdbRemote, "set_breakpoint", set_one_of_four)
    monkeypatch.setattr(GdbRemote, "clear_breakpoint", give_back)
    run = run_with_four(osv_with_faults("x86_64"), row)
    assert refused or not run.verdict.observation.booted


@pytest.mark.parametrize("recording", recordings(), ids=lambda recording: recording.name)
def test_recorded_fault(recording: Recording, tmp_path: Path) -> None:
    agree(replay(recording, Cache(tmp_path), witnessed=True), recording.outcome, recording.reason)


@pytest.mark.parametrize("recording", recordings(), ids=lambda recording: recording.name)
def test_recorded_fault_where_only_the_console_is_known(recording: Recording, tmp_path: Path) -> None:
    agree(replay(recording, Cache(tmp_path), witnessed=False), recording.console_only, "")


def test_a_program_that_ended_was_started_whatever_tore_the_line_of_its_start(tmp_path: Path) -> None:
    (whole,) = [one for one in recordings() if one.name == "pass.x86_64"]
    torn = replace(whole, torn=(b"\nCmdline: ", b"\nhalf a line of another thread's Cmdline: "))
    assert torn.console != whole.console
    agree(replay(torn, Cache(tmp_path), witnessed=True), "passed", PASSES)
    agree(replay(torn, Cache(tmp_path), witnessed=False), "boot_failed", "")


def test_every_row_is_recorded_as_it_is_expected() -> None:
    """The index has what the table has; only hosts with OSv could tell otherwise."""
    index = {row.name: (row.situation, row.outcome, row.reason) for row in recordings()}
    table = {name_of(arch, row): (row.situation, row.outcome, row.reason) for arch, row in OSV_ROWS}
    assert index == table


def name_of(arch: str, row: Row) -> str:
    """What a row's recording is called: `abort.x86_64`."""
    words = re.sub(r"/\S*/(?:fault\.so )?", "", row.command).replace("&!", "detached").replace("&", "beside")
    return f"{words.replace(';', ' then').strip('- ').replace(' ', '-')}.{arch}"


def agree(run: Run, outcome: str, reason: str) -> None:
    """The verdict is the expected one."""
    verdict = run.verdict
    shown = "\n".join(line.text for line in verdict.lines)
    assert (verdict.outcome, reason in verdict.reason) == (outcome, True), f"{verdict.reason}\n{shown}"


def keep(run: Run, session: Session, cell: Cell, folder: Path, shows: str) -> None:
    """Evidence can be written of every run; what is shown of it is plain text of bearable length."""
    where = evidence.write(run, session.image(cell), session.accelerator(cell), folder, "again")
    assert (where / "console.raw").read_bytes() == run.transcript.raw
    assert shows in (where / "console.txt").read_text().replace("\n", " ") or shows in str(run.verdict.lines)
    for line in run.verdict.lines:
        assert all(char.isprintable() or char in "\t" or char.isspace() for char in line.text)
        assert len(line.text) < 2100


class Meddled:
    """A hypervisor whose forks something is done to from outside, a moment after they began to run.

    Each power is written out: `isinstance` of a runtime-checkable Protocol does not see what `__getattr__` gives,
    since Python 3.12, and a hypervisor that seems unable to fork would be meddled with nowhere.
    """

    name = "qemu"

    def __init__(self, act: Callable[[Vm], None]) -> None:
        self._act = act
        self._threads: list[threading.Thread] = []
        self._done: list[BaseException | None] = []
        driver = hypervisor("qemu")
        forks = snapshots_of(driver)
        assert forks
        self._forks = forks
        self.start, self.identity = driver.start, forks.identity
        self.start_template, self.freeze = forks.start_template, forks.freeze

    def fork(self, template: Template) -> Vm:
        vm: Any = self._forks.fork(template)
        resume = vm.resume

        def resume_and_meddle() -> None:
            resume()
            self._threads.append(threading.Timer(0.5, self._meddle, (vm,)))
            self._threads[-1].start()

        vm.resume = resume_and_meddle
        return vm

    def _meddle(self, vm: Vm) -> None:
        try:
            self._act(vm)
        except BaseException as error:
            self._done.append(error)
            raise
        self._done.append(None)

    def assert_done(self) -> None:
        """What was to be done was done, once, and went well."""
        for thread in self._threads:
            thread.join(ENOUGH)
        assert self._done == [None]
