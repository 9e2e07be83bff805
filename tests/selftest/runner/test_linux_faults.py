"""What Linux says of its death is told from what programs print: by where it stands, and by the kernel's own
log."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest
from recording import FOLDER

from harness.runner.base import Program
from harness.runner.console.kernel_log import MOST, KernelLog
from harness.runner.console.matcher import ConsoleMatcher
from harness.runner.console.patterns import patterns_of
from harness.runner.linux.agent import Agent
from harness.runner.linux.faults import place_of
from harness.runner.observation import Observation
from harness.runner.session import Session
from harness.runner.verdict import Outcome, judge

LINUX = patterns_of("linux")
AT = "[   12.345678] "

# Forms of Linux 6.1 to 6.18. Sources: the files that runner/console/linux.toml names.
FAULTS = [
    ("panic", "Kernel panic - not syncing: Fatal exception in interrupt"),
    ("oops", "BUG: kernel NULL pointer dereference, address: 0000000000000008"),
    ("oops", "BUG: scheduling while atomic: swapper/0/0/0x00000002"),
    ("oops", "kernel BUG at lib/list_debug.c:53!"),
    ("oops", "Oops: 0002 [#1] PREEMPT SMP NOPTI"),
    ("oops", "Oops: general protection fault, probably for non-canonical address 0xdead: 0000 [#1] SMP"),
    ("oops", "general protection fault, probably for non-canonical address 0xdead: 0000 [#1] PREEMPT SMP"),
    ("oops", "invalid opcode: 0000 [#1] PREEMPT SMP NOPTI"),
    ("oops", "divide error: 0000 [#1] SMP"),
    ("oops", "Internal error: Oops: 0000000096000004 [#1] SMP"),
    ("oops", "Unable to handle kernel paging request at virtual address ffff000000000000"),
    ("oops", "PANIC: double fault, error_code: 0x0"),
    ("warning", "WARNING: CPU: 1 PID: 139 at mm/page_alloc.c:5531 __alloc_pages+0x1d6/0x220"),
    ("warning", "WARNING: mm/page_alloc.c:5531 at __alloc_pages+0x1d6/0x220, CPU#1: sh/139"),
    ("warning", "WARNING: [order > 10] mm/page_alloc.c:5531 at __alloc_pages+0x1d6/0x220, CPU#1: sh/139"),
    ("undefined behaviour", "UBSAN: array-index-out-of-bounds in drivers/net/x.c:1:2"),
    ("lost reference", "unregister_netdevice: waiting for lo to become free. Usage count = 2"),
]
WATCHDOGS = [
    ("rcu stall", "rcu: INFO: rcu_preempt self-detected stall on CPU"),
    ("rcu stall", "rcu: INFO: rcu_sched self-detected stall on CPU { 1}  (t=2101 jiffies g=4 c=3 q=1)"),
    ("rcu stall", "rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:"),
    ("rcu stall", "rcu: INFO: rcu_preempt detected expedited stalls on CPUs/tasks: { 1-...D } 21 jiffies s: 9"),
    ("rcu stall", "INFO: rcu_tasks detected stalls on tasks:"),
    ("rcu stall", "rcu: rcu_preempt kthread starved for 11258 jiffies! g-439 f0x0 RCU_GP_WAIT_FQS(5)"),
    ("rcu stall", "rcu: rcu_preempt kthread timer wakeup didn't happen for 11257 jiffies! g-439 f0x0"),
    ("soft lockup", "watchdog: BUG: soft lockup - CPU#1 stuck for 42s! [sha256sum:125]"),
    ("hard lockup", "NMI watchdog: Watchdog detected hard LOCKUP on cpu 0"),
    ("hard lockup", "watchdog: CPU0: Watchdog detected hard LOCKUP on cpu 1"),
    ("workqueue lockup", "BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 31s!"),
    ("hung task", "INFO: task kworker/u4:6:5166 blocked for more than 120 seconds."),
    ("hung task", "INFO: task jbd2/vda-8:91 blocked in I/O wait for more than 122 seconds."),
]
NO_FAULTS = [
    "foo: DEBUG: ", "DEBUG: ", "ODEBUG: Out of memory. ODEBUG disabled",
    "traps: p[123] general protection fault ip:401000 sp:7ffe0000 error:0 in p[400000+1000]",
    "traps: p[123] trap invalid opcode ip:401000 sp:7ffe0000 error:0 in p[400000+1000]",
    "BUG: x[66]: segfault at 0 ip 0000000000401000 sp 00007ffe error 4 in p[400000+1000]",
    "BUG: x invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0",
    "WARNING: CPU: 3: page allocation failure: order:9, mode:0x40cc0(GFP_KERNEL|__GFP_COMP)",
    "xfs: Unknown parameter 'BUG: x'", "rcu: INFO: Stall ended before state dump start",
    "Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on",
    "INFO: NMI handler (perf_event_nmi_handler) took too long to run: 1.356 msecs",
    "Out of memory: Killed process 66 (dd) total-vm:87140kB", "INFO: lockdep is turned off.",
]  # fmt: skip


def on_console(text: str) -> list[tuple[str, str]]:
    """Kind and name of the faults on a console."""
    monitor = ConsoleMatcher(LINUX)
    monitor.feed(text.encode())
    monitor.finish()
    return [(match.kind, match.name) for match in monitor.faults()]


def in_log(text: str, priority: int = 3) -> list[tuple[str, str]]:
    """Kind and name of the faults in a kernel's log that has one record."""
    log = KernelLog(LINUX)
    log.feed(f"{priority},339,12345678,-;{text}".encode())
    return [(match.kind, match.name) for match in log.faults]


@pytest.mark.parametrize(("name", "text"), FAULTS, ids=lambda text: text[:40])
def test_a_fault(name: str, text: str) -> None:
    told = ("fault", name)
    assert told in on_console(f"{AT}{text}\r\n") and in_log(text) == [told]
    assert told in on_console(f"half a line of a program's {AT}{text}\r\n")
    assert told in on_console(f"[   12.345678][   T66] {text}\n"), "with its caller"
    assert told in on_console(f"{text}\n"), "without the time"


@pytest.mark.parametrize(("name", "text"), WATCHDOGS, ids=lambda text: text[:40])
def test_a_watchdog(name: str, text: str) -> None:
    assert on_console(f"{AT}{text}\r\n") == in_log(text) == [("watchdog", name)]


@pytest.mark.parametrize("text", NO_FAULTS, ids=lambda text: text[:40])
def test_no_fault(text: str) -> None:
    assert not on_console(f"{AT}{text}\r\n") and not in_log(text)


@pytest.mark.parametrize("text", ["sample[17.4] BUG: 3 known", "[17.4] BUG: 3 known", "at [   12.3] BUG: 3 known"])
def test_what_is_not_the_kernels_time(text: str) -> None:
    assert not on_console(f"{text}\n")


@pytest.mark.parametrize(("lines", "place"), [
    (["Oops: 0002 [#1] SMP", "RIP: 0010:do_one+0x12/0x30", "RIP: 0010:late+0x1/0x2"], "in do_one"),
    (["Modules linked in: x", "pc : el1_fault+0x34/0x90 [some]", "lr : caller+0x10/0x20"], "in el1_fault"),
    (["RIP: 0010:refcount_warn_saturate+0x1/0x2", "Call Trace:", " <TASK>", " ? old+0x1/0x2", " kref_put+0x1/0x2",
      " drop_it+0x1/0x2", " outer+0x1/0x2"], "in drop_it"),
    (["RIP: 0033:0x7f1234", "RIP: 0033:main+0x1/0x2"], ""), (["Call Trace:"], ""),
    (["x"] * 99 + ["RIP: f+0x1/0x2"], ""),
])  # fmt: skip
def test_where_the_kernel_met_it_is_told_by_its_registers(lines: list[str], place: str) -> None:
    log = KernelLog(LINUX)
    fault = "BUG: kernel NULL pointer dereference, address: 0000000000000008"
    for number, line in enumerate(["RIP: 0010:before+0x1/0x2", fault, *lines]):
        log.feed(f"{1 if line == fault else 4},{number},{12345678 + number},-;{line}".encode())
    (seen,) = (match for match in log.faults if "NULL" in match.text)
    assert place_of(seen.text, log.shown().splitlines()) == place


def test_the_log_tells_who_spoke() -> None:
    """A program's records have another facility, and what the kernel says of programs' faults is informative."""
    assert in_log("BUG: mine", 8 | 0) == in_log("BUG: mine", 6) == []
    assert in_log(f"x: {AT}BUG: mine") == [], "a name may have a time in it"
    assert in_log("BUG: \\x0a")


def test_the_log_takes_anything() -> None:
    log = KernelLog(LINUX)
    for line in (b"", b"9" * 100, b"3,1,1,-", b" SUBSYSTEM=acpi", b"3,1,1,-;\\xzz\\x00", b"3,9" * 9999, b"\xff;"):
        log.feed(line)
    assert [record.text for record in log.records] == [b"\\xzz\0"]
    for number in range(2, MOST + 99):
        log.feed(b"3,%d,1,-;x" % number)
    assert len(log.records) == MOST and not log.has_gaps
    log.feed(b"3,%d,1,-;x" % (MOST + 200))
    assert log.has_gaps


def test_a_mark_tells_that_all_before_it_has_come() -> None:
    log = KernelLog(LINUX)
    log.expect(b"0123")
    log.feed(b"6,1,1,-;0123")
    assert not log.saw(b"0123"), "the kernel said it"
    log.feed(b"15,2,1,-;0123")
    assert log.saw(b"0123")


def test_the_kernels_words_are_taken_out_of_a_line() -> None:
    log = KernelLog(LINUX)
    log.feed(b"4,1,12345678,-;two\\x0alines")
    log.feed(b"14,2,12345679,-;a program's")
    console = b"half[   12.345678] two\r\n[   12.345678] lines\r\n and half\r\n[   12.345679] a program's\r\n"
    assert log.without_its_words(console) == b"half and half\r\n[   12.345679] a program's\r\n"


@pytest.mark.parametrize("path", sorted((FOLDER / "linux").glob("*.raw")), ids=lambda path: path.stem)
def test_a_recorded_guest_that_its_host_had_paused(path: Path) -> None:
    """Never a pass; the kernel's only where the host did nothing. Both are of guests of two busy cpus of Debian's
    6.1 kernel whose QEMU was stopped for 45 s."""
    monitor = ConsoleMatcher(LINUX)
    monitor.feed(path.read_bytes())
    monitor.finish()
    seen = Observation(booted=True, status=0, clean_end=True, faults=monitor.faults())
    assert judge(seen)[0] is Outcome.CRASHED
    outcome, reason = judge(replace(seen, host_effect="stopped the guest's process for 45 s"))
    assert outcome is Outcome.HARNESS_ERROR and "the host stopped the guest's process for 45 s" in reason


def test_a_line_that_the_kernel_tore_is_what_the_program_printed(session: Session) -> None:
    """Console level 8 shows all that the kernel says; a name of it is removed from cell to cell by the log."""
    tears = "dmesg -n 8; printf half; echo 3 > /proc/sys/vm/drop_caches; echo ' and half'"
    program = Program("tears", tears, 60.0, prints=("^half and half$",))
    run = session.run(session.cell("linux:qemu-rofs"), program)
    assert b"half[ " in run.transcript.raw and b"half and half" not in run.transcript.raw
    assert run.verdict.outcome is Outcome.PASSED, run.verdict.reason


def test_what_a_program_prints_is_told_in_the_evidence(session: Session) -> None:
    program = Program("prints", f"echo '{AT}Kernel panic - not syncing: x'", 60.0)
    seen = session.run(session.cell("linux:qemu-rofs"), program).verdict.observation
    assert not seen.faults
    assert [fault.text for fault in seen.printed_faults] == [f"{AT}Kernel panic - not syncing: x"]


@pytest.mark.parametrize("unread", [b"", b"run a true\n"], ids=["all read", "with words of ours unread"])
def test_an_agent_that_is_gone_is_told_as_gone(unread: bytes) -> None:
    """A guest that is reset takes its lines with it, in whatever moment it is spoken to; what it said counts."""
    ours, theirs = socket.socketpair()
    with ours:
        agent = Agent(ours)
        ours.sendall(unread)
        theirs.sendall(b"exited a 7\n")
        theirs.close()
        agent.mark()
        agent.run("b", "true")
        agent.tell("true", lambda told: None)
        for _ in range(4):
            if not agent.gone:
                agent.listen()
        assert agent.gone
        assert agent.exited == {"a": 7}
