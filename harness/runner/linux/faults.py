"""Separates the kernel's own faults from programs' output that looks like one, by the kernel's own log.

The kernel writes a line into its log before it prints it. So once text like a fault appears on the console, the
agent is asked for all of the log up to now: what is not in it was printed by a program. A kernel that panicked no
longer answers. It reports that to the hypervisor if it can, and stops forever if it can't (`kernel.panic=0`):
neither a reset nor a power-off follows a panic. Source: Linux, kernel/panic.c (panic), kernel/printk/printk.c
(vprintk_emit).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import dropwhile, islice

from harness.runner.console.matcher import Match
from harness.runner.guest import Guest
from harness.runner.linux.agent import Agent
from harness.vm.base import ExitCause, ExitStatus

ANSWER_SECONDS = 5.0
"""In the guest's own time, after what looks like a fault. The agent only has to write one record, without a
fork."""
LOG_SECONDS = 30.0
"""The same where nothing does: its own time is its busiest vCPU's, and the agent may be on one that waits."""

WHERE = re.compile(r"\b(?:RIP: (?:0010:)?|pc : |PC is at )([A-Za-z_][\w.]*)\+0x[0-9a-f]+/0x[0-9a-f]+")
"""The function in which a kernel met its fault. Source: arch/x86/kernel/dumpstack.c (show_ip),
arch/arm64/kernel/process.c (__show_regs)."""
CALL = re.compile(r"(?:\] (?:\[<[0-9a-f]+>\] )?|^) *([A-Za-z_][\w.]*)\+0x[0-9a-f]+/0x[0-9a-f]+")
"""A reliable frame of a call trace; those with a `?` are leftovers on the stack."""
NAMED = re.compile(r" ([A-Za-z_][\w.]*)\+0x[0-9a-f]+/0x[0-9a-f]+")
TELLERS = re.compile(
    r"_*(?:dump_|show_|print_|report_|warn|panic|oops|die|bad_page|schedule|might_|sched_|check_preemption|debug_"
    r"|handle_(?:bug|exception)|exc_|asm_|do_(?:trap|error|user_addr|invalid_op|general_prot)|invalid_op"
    r"|fixup_|ubsan|kasan|asan|kmsan|kcsan"
    r"|lock(?:dep)?_|validate_|mark_|check_(?:non|prev|irq|object|heap|memory)|raw_(?:spin|read|write)_|spin_|mutex_"
    r"|down_|up_|rwsem|ww_|refcount_|kref_|list_(?:add|del)|mem(?:cpy|set|move|cmp)|str[a-z]{2,4}$|fortify|usercopy"
    r"|x86_indirect|skb_(?:panic|over|under|put|push)|rcu_read_|bust_|el1|el0|dbg_|bug_|brk_|copy_(?:to|from)_"
    r"|lockdep|stack_chk|slab_|object_err|free_object|debugobj|register_lock_class|preempt_schedule|watchdog)"
)
"""Functions that only report a fault, or helpers that fail because of their caller: the caller is named
instead."""
MOST_TOLD = 80
"""Lines from the first line of a fault to the end of its call trace."""
MOST_PRINTED = 20
"""Lines of a program that are shown; a program may print any number."""


@dataclass(frozen=True, slots=True)
class Faults:
    """The kernel's own faults, similar text that a program printed, and why the kernel's log could not be read, if
    so."""

    of_kernel: tuple[Match, ...]
    printed: tuple[Match, ...] = ()
    unread: str = ""


class FaultWatch:
    """Watches one guest, from the moment when its agent takes commands."""

    def __init__(self, guest: Guest, agent: Agent) -> None:
        self._guest = guest
        self._agent = agent
        self._mark = b""
        self._asked_at = 0.0
        self._covers = 0  # so many of the monitor's matches had come when the mark was asked for
        self._settled = 0  # so many have been compared with the log

    def found(self) -> bool:
        """Whether the kernel has reported a fault, or has stopped answering after what looks like one."""
        self._listen()
        if self._agent.log.faults:
            return True
        if self._suspects() and not self._mark and not self._agent.gone:
            self._ask()
        return bool(self._suspects()) and self._silent()

    def settle(self) -> None:
        """Request the rest of the kernel's log, if the guest still lives."""
        if self._over() or self._silent():
            return
        self._ask()
        self._guest.wait_within(lambda: self._listen() or self._over(), LOG_SECONDS)

    def faults(self, exit_status: ExitStatus | None) -> Faults:
        """The faults found, for a guest with this exit status, or a live one."""
        self._listen()
        log, suspects = self._agent.log, self._suspects()
        texts = [fault.text for fault in log.faults]
        compared = [match for match in self._looks_like_faults(0, self._settled) if not _is_logged(match, texts)]
        rest = [match for match in suspects if not _is_logged(match, texts)]
        unread = ""
        if self._mark and not self._over():
            unread = f"the guest's agent did not tell its kernel's log within {LOG_SECONDS:.0f} s"
        panicked = exit_status.cause is ExitCause.PANICKED if exit_status else bool(unread)
        of_kernel = list(log.faults)
        printed: list[Match] = []
        (of_kernel if log.has_gaps else printed).extend(compared)
        (of_kernel if panicked else printed).extend(rest)
        return Faults(tuple(of_kernel), tuple(printed[:MOST_PRINTED]), unread)

    @property
    def first_at(self) -> float:
        """When the first fault arrived, in monotonic seconds."""
        at = self._agent.log.first_fault_at
        if at is None:
            transcript, matches = self._guest.transcript, self._looks_like_faults(0, None)
            at = transcript.start + transcript.time_of(matches[0].offset) if matches else 0.0
        return at

    def _ask(self) -> None:
        self._covers = len(self._guest.monitor.matches)
        self._asked_at = self._guest.host.own_seconds
        self._mark = self._agent.mark()

    def _listen(self) -> bool:
        """Whether no answer is pending any more."""
        if self._mark and self._agent.log.saw(self._mark):
            self._mark, self._settled = b"", self._covers
        return not self._mark

    def _silent(self) -> bool:
        return bool(self._mark) and self._guest.host.own_seconds - self._asked_at > ANSWER_SECONDS

    def _over(self) -> bool:
        return self._guest.closed or self._agent.gone

    def _suspects(self) -> list[Match]:
        """Text like a fault that has not been compared with the log yet."""
        return self._looks_like_faults(self._settled, None)

    def _looks_like_faults(self, first: int, last: int | None) -> list[Match]:
        return [match for match in self._guest.monitor.matches[first:last] if match.kind in ("fault", "watchdog")]


def place_of(fault: str, lines: Iterable[str]) -> str:
    """Where the kernel met a fault, in words, from the registers that it prints after the fault's line.

    For a function that only reports faults it is the caller. Empty if the fault's line names the function itself,
    or if the lines name none.
    """
    following = list(islice(dropwhile(lambda line: fault not in line, lines), 1, MOST_TOLD))
    met = next((found[1] for line in following if (found := WHERE.search(line))), "")
    named = NAMED.search(fault)
    if named and not TELLERS.match(named[1]):
        return ""
    if met and not TELLERS.match(met):
        return f"in {met}"
    trace = dropwhile(lambda line: "call trace:" not in line.lower(), following)
    calls = (found[1] for line in trace if (found := CALL.search(line)))
    caller = next((one for one in calls if not TELLERS.match(one)), met)
    return f"in {caller}" if caller else ""


def _is_logged(match: Match, texts: Iterable[str]) -> bool:
    """Whether the log has the line, which may be in the middle of a program's line."""
    return any(text in match.text for text in texts)
