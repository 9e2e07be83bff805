"""A guest's backtrace with functions, files and lines, by the debug information of its kernel and programs."""

import re

from harness.source_lines import SourceLines

FRAME = re.compile(rb"^\s*0x([0-9a-f]{8,16}) <", re.MULTILINE)
MOST_FRAMES = 100


def symbolised(console: bytes, lines: SourceLines) -> list[str]:
    """A line for each frame that the kernel printed after `[backtrace]`; none where it printed none."""
    start = console.rfind(b"[backtrace]")
    if start < 0:
        return []
    addresses = [int(match[1], 16) for match in FRAME.finditer(console, start)][:MOST_FRAMES]
    # A return address stands behind its call: one byte back is inside it.
    places = lines.at(address - 1 for address in addresses)
    return [f"{address:#018x}  {place}" for address, place in zip(addresses, places, strict=True)]
