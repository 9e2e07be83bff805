"""Makes a guest's backtrace with functions, files and lines, from the debug information of its kernel and
programs."""

import re

from harness.kernels.source_lines import SourceLines

FRAME = re.compile(rb"^\s*0x([0-9a-f]{8,16}) <", re.MULTILINE)
INSTRUCTION = re.compile(rb"^\s*(?:RIP|PC): 0x([0-9a-f]{8,16}) <", re.MULTILINE)
"""The program counter among the registers that the kernel prints of an exception. Source: OSv's arch/*/dump.cc."""

MOST_FRAMES = 100


def symbolised(console: bytes, lines: SourceLines) -> list[str]:
    """A line for the instruction of the last printed registers, and for each frame printed after `[backtrace]`;
    empty if none was printed."""
    told = [int(match[1], 16) for match in INSTRUCTION.finditer(console)][-1:]
    start = console.rfind(b"[backtrace]")
    printed = FRAME.finditer(console, start) if start >= 0 else ()
    addresses = [int(match[1], 16) for match in printed][:MOST_FRAMES]
    # A return address stands behind its call: one byte back is inside it.
    places = lines.at([*told, *(address - 1 for address in addresses)])
    rows = [f"{address:#018x}  {place}" for address, place in zip([*told, *addresses], places, strict=True)]
    return [f"{row}, the instruction" if told and not number else row for number, row in enumerate(rows)]
