"""The serial line: whatever comes, and however it is cut, the same is seen in it, and it harms no reader."""

import random
import socket
import threading
from itertools import pairwise
from pathlib import Path
from time import monotonic

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pexpect import EOF, TIMEOUT
from recording import FOLDER

from harness.core.text import one_line, plain, printable, printable_lines
from harness.runner.console.matcher import LONGEST_LINE, ConsoleMatcher, Match
from harness.runner.console.patterns import patterns_of
from harness.runner.console.serial import SerialConsole
from harness.runner.console.transcript import LONGEST_SHOWN, Transcript

CONSOLES = {path.stem: path.read_bytes() for path in sorted(FOLDER.glob("*.raw"))}
HARMFUL = {*map(chr, range(0x20)), *map(chr, range(0x7F, 0xA0)), *"\u061c\u200b\u200e\u200f\ufeff\u2066\u2069"}
HARMFUL |= {*map(chr, range(0x2028, 0x202F))}
HARMFUL -= {"\t"}


def seen_in(chunks: list[bytes], kernel: str = "osv") -> list[Match]:
    """What a monitor sees in the chunks."""
    monitor = ConsoleMatcher(patterns_of(kernel))
    for chunk in chunks:
        monitor.feed(chunk)
    monitor.finish()
    return monitor.matches


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data in pieces that end at these places."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


@pytest.mark.parametrize("name", CONSOLES)
@settings(max_examples=20, deadline=None)
@given(places=st.lists(st.integers(min_value=0), max_size=40))
def test_cuts_change_nothing_of_what_is_seen(name: str, places: list[int]) -> None:
    whole = seen_in([CONSOLES[name]])
    assert [match.name for match in whole if match.kind == "mark"]
    assert seen_in(cut(CONSOLES[name], places)) == whole


@pytest.mark.parametrize("name", CONSOLES)
def test_single_bytes_change_nothing_of_what_is_seen(name: str) -> None:
    data = CONSOLES[name]
    assert seen_in([data[i : i + 1] for i in range(len(data))]) == seen_in([data])


WORDS = st.sampled_from(
    [b"Aborted", b"\x1b[31m", b"\x1b]0;", b"\x07", b"\n", b"\r", b"\0", b"[backtrace]", b" ", b"Out of memory: ",
     b"could not reclaim any further", b"program /x returned 3", b"Assertion failed: ", b"\xff", b"x" * 9000,
     b"\x1b"]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(words=st.lists(WORDS, max_size=60), places=st.lists(st.integers(min_value=0), max_size=20))
def test_cuts_change_nothing_in_any_text(words: list[bytes], places: list[int]) -> None:
    data = b"".join(words)
    assert seen_in(cut(data, places)) == seen_in([data])


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=400) | st.lists(WORDS, max_size=12).map(b"".join))
def test_nothing_harmful_survives(data: bytes) -> None:
    assert not HARMFUL & set(printable(data))
    assert b"\x1b[31m" not in plain(data.replace(b"\n", b"")) or b"\x1b\x1b" in data


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        (b"plain\r", "plain"),
        (b"\x1b[2J\x1b[1;31mred\x1b[0m", "red"),
        (b"\x1b]0;title\x07text", "text"),
        (b"\x1b]0;title\x1b\\text", "text"),
        (b"\x1b]0;no end", "0;no end"),
        (b"\x1b\x1b[0m[31mred", "\\x1b[31mred"),
        (b"\x1bcreset", "reset"),
        (b"\xc2\x9b31mred", "\\x9b31mred"),
        (b"\x9b31mred", "\\x9b31mred"),
        (b"a\0b\x08\x7f", "a\\x00b\\x08\\x7f"),
        ("a\u202eb\u2066c\u200fd\u061ce\ufefff".encode(), "a\\u202eb\\u2066c\\u200fd\\u061ce\\ufefff"),
        ("tags \U000e0041".encode(), "tags \\U000e0041"),
        ("grüße \u4f60\u597d".encode(), "grüße \u4f60\u597d"),
        (b"\xc3(\xed\xa0\x80", "\\xc3(\\xed\\xa0\\x80"),
        (b"tab\tstays", "tab\tstays"),
    ],
)
def test_printable(raw: bytes, shown: str) -> None:
    assert printable(raw) == shown


def test_text_of_several_lines_is_shown_safely() -> None:
    said = "one\x1b[2J \t two\r\n\x85three\ud800\u2028\n"
    assert one_line(said) == "one two \\x85three\\ud800\\u2028"
    assert one_line(said.encode("utf-8", "backslashreplace")) == one_line(said)
    assert printable_lines(said) == ["one \t two", "\\x85three\\ud800\\u2028"]


def test_a_fault_is_seen_inside_escape_sequences() -> None:
    assert [match.name for match in seen_in([b"\x1b[31mAbo\x1b[0mrted\x1b[0m\r\n"])] == ["abort"]


def test_a_fault_is_seen_in_a_long_line_wherever_it_stands() -> None:
    for at in (0, 100, LONGEST_LINE - 20, LONGEST_LINE, LONGEST_LINE + 5, 3 * LONGEST_LINE):
        line = b"x" * at + b"Assertion failed: a == b" + b"y" * 70000 + b"\n"
        seen = seen_in([line])
        assert {match.name for match in seen} == {"assertion"}
        assert any("Assertion failed: a == b" in match.text for match in seen)


def test_a_word_in_a_long_line_is_not_a_line() -> None:
    """`^Aborted` is of a line's beginning, and the middle of a long line is none."""
    assert not seen_in([b"x" * (LONGEST_LINE - 1024) + b"Aborted" + b"y" * 2000])


def test_an_unfinished_line_is_seen_and_seen_once() -> None:
    monitor = ConsoleMatcher(patterns_of("osv"))
    monitor.feed(b"x\nOut of memory: could not reclaim any further. Current")
    assert not monitor.matches
    monitor.finish()
    monitor.feed(b" memory: 4 Kb\n")
    monitor.finish()
    assert [match.offset for match in monitor.matches] == [2]


def test_a_program_can_not_break_the_harness_by_its_status() -> None:
    (match,) = seen_in([b"program /x returned " + b"9" * 10000 + b"\n"])
    assert match.status == 9999999999


def test_a_hostile_line_takes_no_more_time_than_any() -> None:
    """Many beginnings of a fault, and no end of one: in megabytes, for a quadratic match would not come back."""
    for kernel, beginning in (("linux", b"[ 1.1]"), ("osv", b"Failed to load object"), ("osv", b"program ")):
        assert not seen_in([beginning * 100_000], kernel)


def test_expected_text_is_seen_in_pieces() -> None:
    monitor = ConsoleMatcher(patterns_of("linux"))
    monitor.feed(b"0123 end\n")
    monitor.expect(b"0123 end")
    assert not monitor.saw(b"0123 end")
    for byte in b"some 0123 end\n":
        monitor.feed(bytes([byte]))
    assert monitor.saw(b"0123 end")


def test_transcript_dates_lines() -> None:
    transcript = Transcript(100.0)
    transcript.add(b"one\ntw", 101.0)
    transcript.add(b"o\nthree", 102.5)
    assert [(line.at, line.text) for line in transcript.tail(9)] == [(1.0, "one"), (1.0, "two"), (2.5, "three")]
    assert [line.text for line in transcript.tail(1)] == ["three"]
    assert Transcript(0.0).tail(5) == []
    assert Transcript(0.0).time_of(3) == 0.0


class Line:
    """A serial line whose far end a thread writes to."""

    def __init__(self, kernel: str = "osv") -> None:
        near, self.far = socket.socketpair()
        self.transcript = Transcript(monotonic())
        self.monitor = ConsoleMatcher(patterns_of(kernel))
        self.console = SerialConsole(near, self.transcript, self.monitor)

    def send(self, pieces: list[bytes]) -> None:
        """Write the pieces and close the line."""

        def write() -> None:
            for piece in pieces:
                self.far.sendall(piece)
            self.far.close()

        threading.Thread(target=write).start()

    def read_all(self) -> None:
        with pytest.raises(EOF):
            while True:
                self.console.read_nonblocking(timeout=60)
        self.monitor.finish()


def test_a_flood_of_50_mb_loses_nothing(tmp_path: Path) -> None:
    block = b"".join(b"line %d of a flood, which is no fault\n" % number for number in range(25000))
    line = Line()
    line.send([block] * 52 + [b"Assertion failed: at last\n"])
    line.read_all()
    assert len(line.transcript.raw) == 52 * len(block) + 26 > 50_000_000
    assert [match.text for match in line.monitor.matches] == ["Assertion failed: at last"]
    assert line.monitor.matches[0].offset == 52 * len(block)
    assert [shown.text for shown in line.transcript.tail(2)][-1] == "Assertion failed: at last"
    line.transcript.write(tmp_path)
    assert (tmp_path / "console.raw").stat().st_size == len(line.transcript.raw)


def test_10_mb_without_a_newline_lose_nothing(tmp_path: Path) -> None:
    line = Line()
    line.send([b"x" * 1000] * 10000 + [b"Assertion failed: at last"])
    line.read_all()
    assert len(line.transcript.raw) == 10_000_025
    assert {match.name for match in line.monitor.matches} == {"assertion"}
    assert all("at last" in match.text for match in line.monitor.matches)
    assert all(len(shown.text) < LONGEST_SHOWN + 50 for shown in line.transcript.tail(40))
    line.transcript.write(tmp_path)
    assert (tmp_path / "console.raw").stat().st_size == 10_000_025


def test_bytes_that_come_one_by_one_are_kept() -> None:
    data = random.Random(1).randbytes(30000)
    line = Line()
    line.send([data[i : i + 1] for i in range(len(data))])
    line.read_all()
    assert line.transcript.raw == data


def test_people_may_expect_and_the_monitor_still_sees() -> None:
    line = Line()
    line.far.sendall(b"OSv v1\nlogin: ")
    line.console.expect(b"login: ", timeout=30)
    line.far.sendall(b"Aborted\n")
    line.console.expect(b"Abo", timeout=30)
    assert [match.name for match in line.monitor.matches] == ["kernel", "abort"]
    line.far.close()


def test_a_wait_ends_by_what_is_watched() -> None:
    line = Line()
    near, far = socket.socketpair()
    heard: list[bytes] = []

    def listen() -> bool:
        heard.append(near.recv(10))
        return heard[-1] == b"end"

    line.console.watched[near.fileno()] = listen
    far.send(b"end")
    with pytest.raises(TIMEOUT):
        line.console.read_nonblocking(timeout=60)
    assert heard == [b"end"]
    line.far.close()


@pytest.mark.parametrize("kernel", ["osv", "linux"])
def test_every_pattern_has_a_prefilter_that_lets_it_pass(kernel: str) -> None:
    patterns = patterns_of(kernel)
    for name, console in CONSOLES.items():
        for line in console.split(b"\n"):
            if any(pattern.regex.search(line) for pattern in patterns.patterns):
                assert patterns.any.search(line), (name, line)
