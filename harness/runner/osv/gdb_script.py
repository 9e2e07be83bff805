"""Runs inside gdb, not in the harness: prints for every thread of a guest of OSv what it does.

OSv's own `scripts/loader.py`, of the commit that was built, knows OSv's data structures. This file loads that,
lists the threads, and prints plain lines. What can't be read costs only its own line: the guest has died, or
hangs, and its memory may hold anything. `OSV_HARNESS_GDB` has the inputs as JSON.
"""

import json
import os
import sys
import types
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import gdb  # type: ignore[import-untyped]

FRAMES = 40
TRACES = 100
WAITING = (
    "sched::thread::", "sched::cpu::schedule", "sched::cpu::reschedule", "waiter::", "wait_object", "lockfree::",
    "std::", "thread_main", "reschedule_from_interrupt",
)  # fmt: skip
"""Patterns of functions that every waiting thread is in, and that don't show what it waits for."""

NOISE = ("std::__invoke", "std::_Function_handler")
"""Patterns of functions that the compiler inserts, and that show nothing."""

given = json.loads(os.environ["OSV_HARNESS_GDB"])
out = Path(given["out"]).open("a", buffering=1, encoding="utf-8", errors="backslashreplace")  # noqa: SIM115


def say(text: str) -> None:
    """Print a line for the harness, apart from gdb's own output."""
    out.write(text)


def load() -> dict[str, Any]:
    """The names of OSv's script, run as gdb itself would run it if the kernel's file were in OSv's build."""
    folder = Path(given["scripts"])
    kernel = str(folder.parent / "build" / f"release.{given['arch']}" / "loader.elf")
    lists: dict[str, Any] = {
        "pretty_printers": [],
        "type_printers": [],
        "xmethods": [],
        "frame_filters": {},
        "frame_unwinders": [],
    }
    gdb.current_objfile = lambda: types.SimpleNamespace(filename=kernel, **lists)
    path = folder / "loader.py"
    names: dict[str, Any] = {"__name__": "__main__", "__file__": str(path), "sys": sys, "gdb": gdb}
    exec(compile(path.read_text(), str(path), "exec"), names)
    return names


def text_or(what: Callable[[], Any], otherwise: str = "?") -> str:
    """The value as text, if it can be read."""
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


def waits_in(stack: list[Any]) -> str:
    """The innermost function outside of the scheduler, and the thread that it waits for, if known."""
    more = ""
    for frame in stack:
        name = frame.name() or "??"
        if name.startswith("lockfree::mutex::lock") and not more:
            more = text_or(partial(owner, frame), "")
        if name.startswith("sched::thread::join") and not more and (joined := text_or(partial(whose, frame), "")):
            more = f", for the end of {joined}"
        if not name.startswith(WAITING):
            return place(frame) + more
    return "the scheduler"


def whose(frame: Any) -> str:
    """The thread that a frame's function concerns."""
    return named(frame.read_var("this"))


def owner(frame: Any) -> str:
    """The owner of the mutex that a frame's function locks."""
    holder = frame.read_var("this")["owner"]["_M_b"]["_M_p"]
    return f", for a mutex that {named(holder)} holds" if holder else ""


def named(thread: Any) -> str:
    """The number and name of a thread."""
    return f"thread {int(thread['_id'])} {thread['_attr']['_name']['_M_elems'].string()!r}"


def show(osv: dict[str, Any], thread: Any, state: Any) -> None:
    """Print one thread: who it is, what it does, where it is."""
    with osv["thread_context"](thread, state):
        status = text_or(lambda: osv["thread_status"](thread).rpartition("::")[2])
        cpu = text_or(lambda: osv["thread_cpu"](thread)["id"])
        stack = list(frames())
        words = [text_or(lambda: named(thread.address), "a thread"), status, f"cpu {cpu}"]
        if status == "waiting":
            words.append(f"in {text_or(partial(waits_in, stack))}")
        if due := text_or(lambda: timers(osv, thread), ""):
            words.append(f"until {due}")
        say(", ".join(words) + "\n")
        for frame in stack:
            if not (frame.name() or "").startswith(NOISE):
                say(f"    {frame.pc():#x}  {text_or(partial(place, frame))}\n")
        say("\n")


def timers(osv: dict[str, Any], thread: Any) -> str:
    """When the thread's timers expire, in seconds of the guest's clock."""
    due = [int(timer["_time"]["__d"]["__r"]) / 1e9 for timer in osv["intrusive_list"](thread["_active_timers"])]
    return ", ".join(f"{seconds:.6f} s" for seconds in due[:8])


def show_traces(osv: dict[str, Any]) -> None:
    """Print the last tracepoints, if tracing was on."""
    try:
        last = list(osv["all_traces"]())[-TRACES:]
    except (RuntimeError, gdb.error, ValueError):
        return
    form = osv["BacktraceFormatter"](osv["symbol_resolver"], osv["symbol_formatter"], True)
    say(f"The last {len(last)} tracepoints:\n" if last else "")
    for trace in last:
        say(f"{trace.format(form)}\n")


def by_status(osv: dict[str, Any], state: Any, thread: Any) -> Any:
    """The vCPU that runs the thread on another stack than its own: that of an exception."""
    if not osv["thread_status"](thread).endswith("running"):
        return None
    return state.cpu_list.get(int(osv["thread_cpu"](thread)["id"]))


def is_kernels(thread: Any) -> bool:
    """Whether it belongs to no program."""
    return text_or(lambda: bool(thread["_app_runtime"]["_M_ptr"])) != "True"


def main() -> None:
    """Connect to the guest, read its files, print its threads: those of programs first."""
    for file, base in given["objects"]:
        gdb.execute(f"add-symbol-file {file} -o {base:#x}", to_string=True)
    gdb.execute(f"target remote {given['socket']}", to_string=True)
    gdb.execute("set language c++", to_string=True)  # whatever the function is written in that it stands in
    osv = load()
    state = osv["vmstate"]()
    by_stack = state.cpu_from_thread
    state.cpu_from_thread = lambda thread: by_stack(thread) or by_status(osv, state, thread)
    threads = sorted(state.thread_list, key=is_kernels)
    say(f"{len(threads)} threads\n\n")
    for thread in threads:
        try:
            show(osv, thread, state)
        except (gdb.error, RuntimeError) as error:
            say(f"    a thread that can't be read: {error}\n\n")
    show_traces(osv)
    gdb.execute("disconnect", to_string=True)


try:
    main()
except Exception as error:
    say(f"Threads can't be read any further: {type(error).__name__}: {error}\n")
    raise
