"""A guest's backtrace with functions, files and lines, from the kernel's own debug information."""

import re
import shutil
import subprocess
from pathlib import Path

from harness.console.transcript import printable

FRAME = re.compile(rb"^\s*0x([0-9a-f]{8,16}) <", re.MULTILINE)
MOST_FRAMES = 100


def symbolised(console: bytes, symbols: Path | None) -> list[str]:
    """A line for each frame that the kernel printed after `[backtrace]`; none where it printed none.

    `symbols` is the kernel's unstripped ELF; addr2line (binutils) reads it. A frame of a program has no
    function there and says so.
    """
    start = console.rfind(b"[backtrace]")
    if start < 0 or symbols is None or not shutil.which("addr2line"):
        return []
    addresses = [match[1].decode() for match in FRAME.finditer(console, start)][:MOST_FRAMES]
    if not addresses:
        return []
    # A return address stands behind its call: one byte back is inside it.
    inside = [f"{int(address, 16) - 1:x}" for address in addresses]
    tool = subprocess.run(
        ["addr2line", "-f", "-C", "-e", str(symbols), *inside], capture_output=True, timeout=60, check=False
    )
    rows = tool.stdout.split(b"\n")
    return [
        f"0x{address}  {printable(rows[2 * i])}  {printable(rows[2 * i + 1])}"
        for i, address in enumerate(addresses)
        if 2 * i + 1 < len(rows)
    ]
