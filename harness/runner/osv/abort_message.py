"""Formats the message of an abort() that the kernel could not format, because parts of it were not loaded yet.

abort() disables interrupts before it reads its message, so a page of a program's file can no longer be loaded, and
the kernel hangs there silently. The file is on the host. Source: OSv's runtime.cc (abort, __assert_fail).
"""

import re
from collections.abc import Callable, Sequence

from harness.core.text import printable

LONGEST = 1024  # bytes, the size of abort()'s buffer
DIRECTIVE = re.compile(r"%[-+ #0]*\d*(?:\.\d+)?(?:hh|h|ll|l|z|j|t)?([diuxXpcs%])")
UNKNOWN = "?"


def formed(arguments: Sequence[int], read: Callable[[int, int], bytes]) -> str | None:
    """The message that printf(3) makes of a format and its arguments, made safe; None if there is no format.

    `arguments` are registers. `read` returns up to as many bytes of the guest's memory as requested. A string that
    can't be read is `?`.
    """
    form = _string(arguments[0], read)
    if form is None:
        return None
    left = iter(arguments[1:])

    def put(match: re.Match[str]) -> str:
        return "%" if match[1] == "%" else _shown(match[1], next(left, None), read)

    return DIRECTIVE.sub(put, form)[:LONGEST]


def _shown(kind: str, value: int | None, read: Callable[[int, int], bytes]) -> str:
    if value is None:
        return UNKNOWN
    match kind:
        case "s":
            return _string(value, read) or UNKNOWN
        case "d" | "i":
            low = value & 0xFFFFFFFF
            return str(low - (1 << 32) if low >> 31 else low)
        case "c":
            return printable(bytes([value & 0xFF]))
        case "u":
            return str(value & 0xFFFFFFFF)
        case _:
            return f"{value:#x}"


def _string(address: int, read: Callable[[int, int], bytes]) -> str | None:
    data = read(address, LONGEST)
    return printable(data.partition(b"\0")[0].rstrip(b"\n")) if data else None
