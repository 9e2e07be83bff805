"""abort()'s words, formed on the host."""

import pytest

from harness.runner.osv.abort_message import formed

MEMORY = {
    0x1000: b"Assertion failed: %s (%s: %s: %d)\n\0",
    0x2000: b"a == b\0",
    0x3000: b"x.cc\0",
    0x4000: b"\x1b[2Jf\0",
}


def read(address: int, length: int) -> bytes:
    return MEMORY.get(address, b"")[:length]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((0x1000, 0x2000, 0x3000, 0x4000, 42), "Assertion failed: a == b (x.cc: f: 42)"),
        ((0x1000, 0x2000, 0x9000, 0x4000, 0xFFFFFFFF), "Assertion failed: a == b (?: f: -1)"),
        ((0x1000, 0x2000), "Assertion failed: a == b (?: ?: ?)"),
        ((0x9000, 1, 2), None),
    ],
)
def test_words(arguments: tuple[int, ...], words: str | None) -> None:
    assert formed(arguments, read) == words
