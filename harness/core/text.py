"""Makes text of guests and of other programs safe to show."""

import re

_ESCAPE = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_c=>])")
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if code != 0x09}
# Characters that reorder or hide text would let a guest disguise what a person reads.
# Source: Unicode's properties Bidi_Control and Default_Ignorable_Code_Point.
_HIDING = (0xAD, 0x61C, 0x180E, *range(0x200B, 0x2010), *range(0x2028, 0x202F), *range(0x2060, 0x2070), 0xFEFF)
_CONTROL |= {code: f"\\u{code:04x}" for code in _HIDING}
_CONTROL |= {code: f"\\U{code:08x}" for code in range(0xE0000, 0xE1000)}


def printable(line: bytes | str) -> str:
    """One line of a guest's, or of another program's, as text that does not control a terminal.

    Escape sequences are removed, other control characters are shown as escapes, and what is not UTF-8 is shown
    byte by byte, as are a string's lone surrogates.
    """
    text = _ESCAPE.sub(b"", _raw(line)).rstrip(b"\r").decode("utf-8", "backslashreplace")
    return text.translate(_CONTROL)


def printable_lines(text: bytes | str) -> list[str]:
    """Each line of a text, made safe by `printable`."""
    return [printable(line) for line in _raw(text).splitlines()]


def one_line(text: bytes | str) -> str:
    """A text as one line that is safe to show; each run of blanks and line ends becomes one blank."""
    return printable(b" ".join(_raw(text).split()))


def plain(raw: bytes) -> bytes:
    """One line without escape sequences and carriage return, to match patterns against."""
    return _ESCAPE.sub(b"", raw).rstrip(b"\r") if b"\x1b" in raw else raw.rstrip(b"\r")


def _raw(text: bytes | str) -> bytes:
    return text.encode("utf-8", "backslashreplace") if isinstance(text, str) else text
