"""Runs inside gdb, not in the harness: prints every thread of the guest of OSv that gdb is joined to.

What an OSv is like its own `scripts/loader.py` knows, of the commit that was built; this file loads it, asks it for
the threads, and prints what it finds as plain lines. Whatever can't be read costs its own line and no other: the
guest has died, or hangs, and its memory may be anything. `OSV_HARNESS_GDB` names the inputs as JSON.
"""

import json
import os
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import gdb  # type: ignore[import-not-found]

FRAMES = 40
TRACES = 100
SCHEDULER = frozenset(
    {
        "arch-switch.hh", "sched.cc", "sched.hh", "sched.S", "mutex.hh", "mutex.cc", "mutex.c", "mutex.h", "psci.cc",
        "lockfree_mutex.cc", "wait_record.hh", "waitqueue.cc", "waitqueue.hh", "preempt-lock.hh", "irqlock.hh",
    }
)  # fmt: skip
"""Files that every waiting thread stands in, which do not say what it waits for."""

given = json.loads(os.environ["OSV_HARNESS_GDB"])


def load() -> dict[str, Any]:
    """Names of OSv's script, run as gdb itself would where the kernel's file lies in OSv's build."""
    folder = given["scripts"]
    kernel = os.path.join(os.path.dirname(folder), "build", f"release.{given['arch']}", "loader.elf")
    gdb.current_objfile = lambda: types.SimpleNamespace(filename=kernel)
    path = os.path.join(folder, "loader.py")
    names: dict[str, Any] = {"__name__": "__main__", "__file__": path, "sys": sys, "gdb": gdb}
    with open(path) as file:
        exec(compile(file.read(), path, "exec"), names)
    return names


def told(what: Callable[[], Any], otherwise: str = "?") -> str:
    """What can be read, as text."""
    try:
        return str(what())
    except (gdb.error, RuntimeError, ValueError, KeyError, TypeError, AttributeError):
        return otherwise


def frames() -> Iterator[Any]:
    """The frames of the selected stack, as far as they can be followed."""
    frame = gdb.newest_frame()
    for _ in range(FRAMES):
        if frame is None:
            return
        yield frame
        try:
            frame = frame.older()
        except gdb.error:
            return


def place(frame: Any) -> str:
    """A frame's function, file and line."""
    sal = frame.find_sal()
    if sal.symtab:
        where = f"{os.path.normpath(sal.symtab.filename)}:{sal.line}".removeprefix("../../")
    else:
        where = gdb.solib_name(frame.pc()) or f"{frame.pc():#x}"
    return f"{frame.name() or '??'} ({where})"


def waits_for(osv: dict[str, Any], stack: list[Any]) -> str:
    """The first place that is not the scheduler's, and whose mutex or end it waits for where that can be read."""
    more = ""
    for frame in stack:
        name = frame.name() or ""
        if name.endswith("mutex::lock") and not more:
            more = told(lambda frame=frame: owner(osv, frame.read_var("this")), "")
        if name.startswith("sched::thread::join"):
            return f"the end of {told(lambda frame=frame: named(frame.read_var('this')))}"
        sal = frame.find_sal()
        inside = sal.symtab is not None and os.path.basename(sal.symtab.filename) in SCHEDULER
        if name and not inside:
            return place(frame) + more
    return "?"


def owner(osv: dict[str, Any], mutex: Any) -> str:
    """Who holds a mutex."""
    holder = mutex["owner"]["_M_b"]["_M_p"]
    return f", a mutex that {named(holder)} holds" if holder else ""


def named(thread: Any) -> str:
    """A thread by its number and name."""
    return f"thread {int(thread['_id'])} {thread['_attr']['_name']['_M_elems'].string()!r}"


def show(osv: dict[str, Any], thread: Any, state: Any) -> None:
    """One thread: who it is, what it does, where it is."""
    with osv["thread_context"](thread, state):
        status = told(lambda: osv["thread_status"](thread).rpartition("::")[2])
        cpu = told(lambda: osv["thread_cpu"](thread)["id"])
        stack = list(frames())
        line = f"{told(lambda: named(thread.address), 'a thread')}, {status}, cpu {cpu}"
        if status == "waiting":
            line += f", waits for {waits_for(osv, stack)}"
        gdb.write(f"{line}\n")
        if timers := told(lambda: show_timers(osv, thread), ""):
            gdb.write(f"    timers: {timers}\n")
        for frame in stack:
            gdb.write(f"    {frame.pc():#x}  {told(lambda frame=frame: place(frame))}\n")
        gdb.write("\n")


def show_timers(osv: dict[str, Any], thread: Any) -> str:
    """When the thread's timers are due, in seconds of the guest's clock."""
    due = [int(timer["_time"]["__d"]["__r"]) / 1e9 for timer in osv["intrusive_list"](thread["_active_timers"])]
    return ", ".join(f"{seconds:.6f} s" for seconds in due[:8])


def show_traces(osv: dict[str, Any]) -> None:
    """The last tracepoints that were passed, if tracing was on."""
    try:
        last = list(osv["all_traces"]())[-TRACES:]
    except (RuntimeError, gdb.error, ValueError):
        return
    form = osv["BacktraceFormatter"](osv["symbol_resolver"], osv["symbol_formatter"], True)
    gdb.write(f"The last {len(last)} tracepoints:\n" if last else "")
    for trace in last:
        gdb.write(f"{trace.format(form)}\n")


def main() -> None:
    """Join the guest, read its files, print its threads: the programs' own first."""
    for file, base in given["objects"]:
        gdb.execute(f"add-symbol-file {file} -o {base:#x}", to_string=True)
    gdb.execute(f"target remote {given['socket']}", to_string=True)
    osv = load()
    state = osv["vmstate"]()
    threads = sorted(state.thread_list, key=lambda one: told(lambda: not one["_app_runtime"]["_M_ptr"]) != "False")
    gdb.write(f"{len(threads)} threads\n\n")
    for thread in threads:
        try:
            show(osv, thread, state)
        except (gdb.error, RuntimeError) as error:
            gdb.write(f"    a thread that can't be read: {error}\n\n")
        gdb.flush()
    show_traces(osv)
    gdb.execute("disconnect", to_string=True)


main()
