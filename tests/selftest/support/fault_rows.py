"""The table of what can become of a guest: each row a situation, how it is brought about, and its verdict."""

import platform
import struct
from collections.abc import Callable
from dataclasses import dataclass

from meddled import cut_control_line, cut_monitor, kill_qemu, serves_a_program, stop_qemu, write_kernel_code

from harness.vm.base import Vm

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
