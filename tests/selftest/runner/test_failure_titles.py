"""A cause has one title however it is told: what differs between two runs is drawn anew, many times over."""

import random

import pytest

from harness.runner.failure_titles import identity, title

OUTSIDE = "page fault: page fault outside application, addr: {address} (page fault at address {hex}, in "
OSV = (
    OUTSIDE + "{function} ({file}:{line}))",
    OUTSIDE + "f2 ({file}:{line}))",
    OUTSIDE + "f2 (a/b.cc:{line}))",
    "abort: Aborted (page fault at address {hex}, in run (guest_programs/fault.c:{line}))",
    "abort: Aborted (invalid opcode, in run (guest_programs/fault.c:{line}))",
    "abort: trying to execute null pointer (a call of address {hex} in main (tests/tst-a.cc:{line}))",
    "abort: Aborted (general protection, in libfoo.so+{hex})",
    "general protection fault: general protection fault (general protection, in f::g (core/lfmutex.cc:{line}))",
    "{name}: Assertion failed: offset == 0 (drivers/ide.cc: make_request: {line}){reached}",
    "{name}: Assertion failed: offset == 1 (drivers/ide.cc: make_request: {line}){reached}",
    "{name}: Assertion failed: offset == 0 (drivers/ide.cc: read: {line}){reached}",
    "{name}: Assertion failed: offset == 0 (drivers/ahci.cc: make_request: {line}){reached}",
    "{name}: Assertion failed: sizeof(x) == 0x1000 (core/mmu.cc: f::map(int) [with T = int]: {line}){reached}",
    "{name}: Out of memory: could not reclaim any further. Current memory: {decimal} Kb",
    "{name}: DUMMY_HANDLER for invalid_opcode aborting.",
    "{name}: DUMMY_HANDLER for divide_error aborting.",
    "{name}: /tests/{same}.so: failed looking up symbol nowhere",
    "{name}: /tests/{same}.so: failed looking up symbol elsewhere",
    "uncaught signal: Uncaught signal 11 (SIGSEGV)",
    "uncaught signal: Uncaught signal 6 (SIGABRT)",
    "uncaught exception: terminate called after throwing an instance of 'std::runtime_error'",
    "uncaught exception: terminate called after throwing an instance of 'std::bad_alloc'",
    "abort: Assertion failed: %s (%s: %s: %d) (reached from main (tests/tst-fread.cc:12))",
    "abort: Assertion failed: %s (%s: %s: %d) (reached from main (tests/tst-fread.cc:67))",
    "abort: Assertion failed: %s (%s: %s: %d) (reached from main (tests/tst-mmap.cc:12))",
    "abort: Assertion failed: %s (%s: %s: %d) (in f (tests/tst-mmap.cc:{line}))",
    "abort: Aborted (reached from main (tests/tst-mmap.cc:12))",
)
LINUX = (
    "oops: {printk}BUG: kernel NULL pointer dereference, address: {bare}",
    "oops: {printk}BUG: unable to handle page fault for address: {bare}",
    "oops: {printk}BUG: unable to handle kernel paging request at {bare}",
    "oops: {printk}Unable to handle kernel paging request at virtual address {bare}",
    "oops: {printk}Unable to handle kernel NULL pointer dereference at virtual address {bare}",
    "oops: {printk}general protection fault, probably for non-canonical address {hex}: {code} [#{few}] SMP NOPTI",
    "oops: {printk}invalid opcode: {code} [#{few}] PREEMPT SMP NOPTI",
    "oops: {printk}divide error: {code} [#{few}] SMP",
    "oops: {printk}Internal error: Oops: {code} [#{few}] SMP",
    "oops: {printk}Internal error: synchronous external abort: {code} [#{few}] SMP",
    "oops: {printk}kernel BUG at mm/slub.c:{line}!",
    "oops: {printk}kernel BUG at fs/inode.c:{line}!",
    "oops: {printk}BUG: Bad page state in process {comm}  pfn:{short}",
    "oops: {printk}BUG: Bad page map in process {comm}  pte:{bare} pmd:{bare}",
    "oops: {printk}BUG: Bad rss-counter state mm:{bare} type:MM_ANONPAGES val:{few}",
    "oops: {printk}BUG: Bad rss-counter state mm:{bare} type:MM_FILEPAGES val:{few}",
    "oops: {printk}BUG: scheduling while atomic: {comm}/{pid}/{hex}",
    "oops: {printk}BUG: sleeping function called from invalid context at kernel/locking/mutex.c:{line}",
    "oops: {printk}BUG: sleeping function called from invalid context at include/linux/percpu-rwsem.h:{line}",
    "oops: {printk}BUG: using smp_processor_id() in preemptible [{bare}] code: {comm}/{pid}",
    "oops: {printk}BUG: stack guard page was hit at {bare} (stack is {bare}..{bare})",
    "heap: {printk}BUG kmalloc-64 ({tainted}): Redzone overwritten",
    "heap: {printk}BUG kmalloc-64 ({tainted}): Object already free",
    "panic: {printk}Kernel panic - not syncing: Attempted to kill init! exitcode={hex}",
    "panic: {printk}Kernel panic - not syncing: Fatal exception",
    "panic: {printk}Kernel panic - not syncing: Fatal exception in interrupt",
    "panic: {printk}Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block({few},{few})",
    "panic: {printk}Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: do_one+{hex}/{hex}",
    "panic: {printk}Kernel panic - not syncing: stack-protector: Kernel stack is corrupted in: do_two+{hex}/{hex}",
    "warning: {printk}WARNING: CPU: {cpu} PID: {pid} at kernel/fork.c:{line} copy_process+{hex}/{hex}",
    "warning: {printk}WARNING: CPU: {cpu} PID: {pid} at kernel/fork.c:{line} copy_process2+{hex}/{hex} [some]",
    "warning: {printk}WARNING: [order > {few}] mm/page_alloc.c:{line} at alloc+{hex}/{hex}, CPU#{cpu}: x/{pid}",
    "oops: {printk}BUG: kernel NULL pointer dereference, address: {bare} (in do_one)",
    "oops: {printk}BUG: kernel NULL pointer dereference, address: {bare} (in do_two)",
    "warning: {printk}WARNING: kernel/exit.c:{line} at do_exit+{hex}/{hex}, CPU#{cpu}: {comm}/{pid}",
    "lost reference: {printk}unregister_netdevice: waiting for lo to become free. Usage count = {few}",
    "undefined behaviour: {printk}UBSAN: array-index-out-of-bounds in fs/foo.c:{line}:{few}",
    "undefined behaviour: {printk}UBSAN: shift-out-of-bounds in fs/foo.c:{line}:{few}",
    "soft lockup: {printk}watchdog: BUG: soft lockup - CPU#{cpu} stuck for {seconds}s! [{comm}:{pid}]",
    "hard lockup: {printk}Watchdog detected hard LOCKUP on cpu {cpu}",
    "rcu stall: {printk}rcu: INFO: rcu_preempt {who} on CPUs/tasks:",
    "rcu stall: {printk}rcu: rcu_preempt kthread starved for {decimal} jiffies! g{pid} f0x0 ->cpu={cpu}",
    "workqueue lockup: {printk}BUG: workqueue lockup - pool cpus={cpu}-{few} node=0 stuck for {seconds}s!",
    "hung task: {printk}INFO: task jbd2/vda1:{pid} blocked for more than {seconds} seconds.",
    "hung task: {printk}INFO: task kworker/u{few}:{cpu}:{pid} blocked for more than {seconds} seconds.",
)
OTHERS = (
    "the program ended with status 1",
    "the program ended with status 2",
    "nothing ran any more when the limit of {seconds} s was reached",
    "a vCPU spun in one place when the limit of {seconds} s was reached",
    "still running when the limit of {seconds} s was reached",
)
HOST = (
    "", " (and {few} more)", ", while the host loaded it (most: {decimal} answers in {seconds} s)",
    ", while the host checked its answers", ", while the host asked it once more after the load",
)  # fmt: skip


def rendered(template: str, dice: random.Random) -> str:
    """The same cause as another run tells it."""
    address = dice.choice((dice.randrange(1 << 12), dice.randrange(1 << 48), (1 << 64) - dice.getrandbits(40) - 1))
    seconds = dice.randrange(10**7) / 1e6 * 10 ** dice.randrange(4)
    caller = dice.choice(("", "", f"[{'T' + str(dice.randrange(9999)):>7}]", "[     C1]"))
    words = {
        "address": f"0x{address:016x}", "bare": f"{address:016x}",
        "hex": f"{dice.choice((address, address >> 3)):#x}",
        "code": f"{dice.choice((0, 2, 16, 0x96000004)):0{dice.choice((4, 16))}x}",
        "short": f"{dice.randrange(1 << 24):05x}", "line": dice.randrange(1, 3000),
        "pid": dice.randrange(1, 99999),
        "cpu": dice.randrange(128), "few": dice.randrange(1, 9), "decimal": dice.randrange(10**6),
        "seconds": dice.randrange(1, 300), "printk": dice.choice((f"[{seconds:12.6f}]{caller} ", "")),
        "comm": dice.choice(("swapper/0", "stress", "syz-executor.3", "kworker/1:2", "tst a")),
        "tainted": dice.choice(("Not tainted", "Tainted: G    B      ", "Tainted: G        W          ")),
        "who": dice.choice(("detected stalls", "self-detected stall", "detected stall")),
        "name": dice.choice(("abort", "assertion", "out of memory", "unhandled exception")),
        "reached": dice.choice(("", " (reached from main (tests/tst-fread.cc:67))", " (reached from t+0x12)")),
        "function": "ide::ide_drive::make_request(bio*)", "file": "drivers/ide.cc", "same": "tst-same",
    }  # fmt: skip
    return (template + dice.choice(HOST)).format(**words)


@pytest.mark.parametrize("template", [*OSV, *LINUX, *OTHERS])
def test_one_cause_has_one_title_in_every_run(template: str) -> None:
    dice = random.Random(template)
    found = {title(rendered(template, dice)) for _ in range(40)}
    assert len(found) == 1 and found != {""}, sorted(found)[:5]


def test_other_causes_have_other_titles() -> None:
    named: dict[str, str] = {}
    for template in (*OSV, *LINUX, *OTHERS):
        found = title(rendered(template, random.Random(1)))
        assert named.setdefault(found, template) == template, found


@pytest.mark.parametrize("words", [
    "Assertion failed: %s (%s: %s: %d)", "Assertion failed: ? (?: ?: 146)", "Assertion failed: ",
    "%s: failed looking up symbol %s", "Aborted", "without a message", "its message can't be read",
])  # fmt: skip
def test_words_that_name_no_cause_have_no_title(words: str) -> None:
    assert title(f"abort: {words}") == title(f"assertion: {words}, while the host checked its answers") == ""
    assert identity("crashed", f"abort: {words}") == "crashed"
    first, second = (title(f"abort: {words} (reached from main (a.cc:{line}))") for line in (1, 9))
    assert first != second and "main (a.cc:1)" in first


def test_a_title_keeps_function_and_file() -> None:
    told = "oops: [    1.5] BUG: unable to handle page fault for address: ff (in e1000_clean (net/e1000.c:7))"
    assert title(told) == "BUG: unable to handle page fault for address: N (in e1000_clean (net/e1000.c))"
