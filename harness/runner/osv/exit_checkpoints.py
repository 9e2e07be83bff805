"""The places in OSv's kernel at which the exit tracer stops a guest, and what it learns there about programs.

The hypervisor's debug stub sets breakpoints at functions that OSv must pass (`Checkpoint`). A guest can't fake
what they show by printing. All are hardware breakpoints, of which x86_64 has four: a software breakpoint would
reach the guest where an emulated SVM gives KVM a wrong address. So they are set in two stages:

1. Before the boot: the entry of the main thread, `halt` and `poweroff`.

2. At the main thread's entry, whose breakpoint is free then: `exit` and `application::join`; and where there are
more than four, on AArch64 and under TCG, `abort` and the constructor of `application`.

Source: OSv's loader.cc (do_main_thread), core/app.cc (application), runtime.cc (exit, abort), core/shutdown.cc.
"""

from dataclasses import dataclass
from enum import StrEnum


class Checkpoint(StrEnum):
    """A place in the kernel at which the guest is stopped to learn something."""

    MAIN = "main thread"
    CREATED = "program created"
    JOIN = "join called"
    JOINED = "join returned"
    EXIT = "exit"
    POWEROFF = "poweroff"
    HALT = "halt"
    ABORT = "abort"


MAIN_THREAD, JOIN = "_Z14do_main_threadPv", "_ZN3osv11application4joinEv"
FUNCTIONS = {
    Checkpoint.MAIN: MAIN_THREAD,
    Checkpoint.POWEROFF: "_ZN3osv8poweroffEv",
    Checkpoint.HALT: "_ZN3osv4haltEv",
    Checkpoint.EXIT: "exit",
    Checkpoint.JOIN: JOIN,
    Checkpoint.ABORT: "_Z5abortPKcz",
    Checkpoint.CREATED: "_ZN3osv11applicationC1E",  # only the name's beginning: its arguments' types follow
}
BEFORE_BOOT = (Checkpoint.MAIN, Checkpoint.HALT, Checkpoint.POWEROFF)
ESSENTIAL = (Checkpoint.HALT, Checkpoint.POWEROFF, Checkpoint.EXIT, Checkpoint.JOIN)
HELPFUL = (Checkpoint.ABORT, Checkpoint.CREATED)
CLEAN_CALLER = "_ZN3osv8shutdownEv"
LAUNCHERS = (MAIN_THREAD, "_Z16prepare_commands")
"""Callers of poweroff that give up because a program could not be started, by the beginnings of their names."""
SIGNAL_CALLER = "kill"


@dataclass(slots=True)
class TracedProgram:
    """A program that the main thread created: the address of its `application`, its path (empty if it could not be
    read), and its status once the kernel has it."""

    application: int
    path: str
    status: int | None = None


class ExitCaller(StrEnum):
    """Whose thread called exit()."""

    OWN = "a program of the main thread's"
    NESTED = "another"
    UNKNOWN = "unknown"
