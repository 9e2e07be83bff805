"""Where a guest of OSv died, from its console, without a debug stub: by function, not by line.

Source: OSv's arch/x64/dump.cc and arch/aarch64/dump.cc (dump_registers), runtime.cc (print_backtrace): the program
counter as `0x… <symbol+offset>`, and such a line for each frame after `[backtrace]`.
"""

import re
from itertools import dropwhile, islice

from harness.core.text import printable

REGISTER = re.compile(r"^(?:RIP|PC): +0x[0-9a-f]+ <(.+)\+-?\d+>")
FRAME = re.compile(r"^0x[0-9a-f]+ <(.+)\+-?\d+>$")
UNKNOWN = "???"
TELLERS = re.compile(
    r"abort\b|__assert_fail|osv::(?:generate_signal|handle_mmap_fault|halt)\b|mmu::vm_(?:fault|sigsegv|sigbus)\b"
    r"|page_fault|general_protection|invalid_opcode|ex_|handle_unexpected_exception|std::|__cxa_|__cxxabi"
)
"""Functions that only report a fault."""
HELPERS = re.compile(r"_*(?:mem|str)[a-z_]+(?:_\w+)?(?:\(.*\))?")
"""Functions that fail because of their caller: the caller is named instead."""
OUTERMOST = re.compile(r"osv::application::|thread_main|sched::thread::|start_thread")
"""Functions from which every program is called: what they called has no name here."""
MOST = 60  # lines of one report


def place_on(console: bytes) -> str:
    """Where the first fault on a console happened, in words; empty if it has no name."""
    lines = [printable(line).rstrip() for line in console[-(1 << 18) :].split(b"\n")]
    report = list(islice(dropwhile(lambda line: line not in ("[registers]", "[backtrace]"), lines), MOST))
    met = next((found[1] for line in report if (found := REGISTER.match(line))), None)
    if met is None or HELPERS.fullmatch(met):
        frames = (found[1] for line in report if (found := FRAME.match(line)))
        caller = next((one for one in frames if not TELLERS.match(one) and not HELPERS.fullmatch(one)), UNKNOWN)
        named = caller != UNKNOWN and not OUTERMOST.match(caller)
        met = caller if named else met
    return f"in {met}" if met not in (None, UNKNOWN) else ""
